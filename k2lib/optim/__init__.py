"""The optimizer of K2: Muon with QK-Clip, its orthogonalisation, its learning-rate schedule."""

from k2lib.optim.muonclip import MuonClip
from k2lib.optim.newton_schulz import newton_schulz
from k2lib.optim.qk_clip import QKClip, QKPart

__all__ = ["MuonClip", "QKClip", "QKPart", "newton_schulz"]
