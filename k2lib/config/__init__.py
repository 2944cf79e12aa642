"""What a K2 is: the numbers that define the architecture, under the names of the released `config.json`.

`architecture` holds the class, `checks` what cannot be built, `released` the file, `presets` the models known by name.
"""

from k2lib.config.architecture import K2Config, gate_scale
from k2lib.config.yarn import YaRN

__all__ = ["K2Config", "YaRN", "gate_scale"]
