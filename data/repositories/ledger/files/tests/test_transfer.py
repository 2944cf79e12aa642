import unittest

from ledger.book import Book, Refused


class Transfer(unittest.TestCase):
    def test_a_refused_transfer_changes_nothing(self):
        book = Book()
        book.open("ann", 500)
        book.open("bob", 0)
        with self.assertRaises(Refused):
            book.move("ann", "bob", 501)
        self.assertEqual(book.accounts, {"ann": 500, "bob": 0})


if __name__ == "__main__":
    unittest.main()
