"""The K2 architecture: `K2Model` over latent attention, sparse experts and rotary positions."""

from k2lib.model.transformer import K2Model

__all__ = ["K2Model"]
