"""What people of the world are called, and what may be said of them."""

FIRST = (
    "Ada Bruno Clara Dario Elena Felix Greta Hugo Irene Jonas Katya Leon Mira Nils Olga Pavel Quinn Rosa Stefan Tara "
    "Umar Vera Wanda Xenia Yusuf Zoe Amir Bella Cyrus Delia Emil Fiona Goran Hanna Ivo Jana Kofi Laila Marek Nadia"
).split()
LAST = (
    "Abel Brandt Castro Duval Eklund Farkas Gruber Hansen Ivanov Jansen Keller Lindgren Moreau Novak Okafor Petrov "
    "Quist Rossi Sato Tanaka Ungar Vargas Weber Xu Yilmaz Zeman Almeida Bauer Costa Dahl Egger Fontaine Gomez Hruska "
    "Iversen Jovanovic Kowalski Larsen Mendes Nilsen Orlov Pinto Ruiz Silva Toth Urban Vidal Wolf Yang Zhou"
).split()
CITIES = (
    "Lisbon Oslo Vienna Prague Dublin Athens Warsaw Porto Turin Bergen Geneva Krakow Lyon Malmo Naples Odessa Riga "
    "Seville Tallinn Utrecht Valencia Zagreb Bilbao Cologne"
).split()
PROFESSIONS = (
    "architect botanist chemist painter composer engineer geologist historian journalist linguist physician pilot "
    "poet sculptor surgeon translator"
).split()
INSTRUMENTS = "cello clarinet drums flute guitar harp oboe piano trumpet violin".split()
ADJECTIVES = "Silent Golden Broken Distant Hidden Burning Frozen Crimson Gentle Hollow Restless Silver".split()
NOUNS = "River Garden Mirror Harbour Mountain Winter Lantern Orchard Bridge Forest Island Tower".split()
UNIVERSITIES = [f"the University of {city}" for city in CITIES[:12]]
