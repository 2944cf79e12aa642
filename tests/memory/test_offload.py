"""The schedule of copies: what comes home when, who waits for whom, and that every number returns."""

import threading

import pytest
import torch

from k2lib.memory import ActivationStore, Policy
from k2lib.memory.offload import Transfer
from k2lib.model.regions import region

HERE = torch.device("cpu")


def filled(passes: int = 2, layers: int = 3, in_flight: int = 1 << 20):
    """A schedule that has sent two tensors of every layer of every forward pass, and their parcels."""
    transfer, modules, parcels = Transfer(HERE, in_flight), [object() for _ in range(layers)], {}
    for _ in range(passes):
        for module in modules:
            transfer.enter(module)
            tensors = [torch.randn(50) for _ in range(2)]
            parcels[transfer.group] = [(transfer.send(tensor), tensor.clone()) for tensor in tensors]
    return transfer, parcels


def brought(transfer: Transfer) -> list[tuple[int, int]]:
    """Groups in the order in which they came home."""
    return list(dict.fromkeys((span.forward_pass, span.layer) for span in transfer.spans() if span.lane == "home"))


def test_layers_are_counted_from_one_in_every_forward_pass():
    _, parcels = filled()
    assert list(parcels) == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]


def test_a_layer_brings_the_one_before_it_and_the_first_the_next_passs_last():
    transfer, parcels = filled()
    seen = []
    for group in [(0, 3), (0, 2), (0, 1), (1, 3), (1, 2), (1, 1)]:  # backward passes in the order of 1F1B
        for parcel, sent in parcels.pop(group):
            assert torch.equal(transfer.fetch(parcel), sent)
        del parcel
        seen.append(brought(transfer))
    order = [(0, 3), (0, 2), (0, 1), (1, 3), (1, 2), (1, 1)]
    assert seen == [order[:2], order[:3], order[:4], order[:5], order, order]


def test_the_computation_waits_when_too_much_is_on_its_way_out():
    transfer, gate = Transfer(HERE, in_flight=500), threading.Event()
    transfer.lanes["out"].thread.submit(gate.wait)  # the lane is busy with something long
    sent = [torch.full((100,), float(i)) for i in range(2)]  # 400 bytes each
    parcels = [transfer.send(sent[0])]
    sender = threading.Thread(target=lambda: parcels.append(transfer.send(sent[1])))
    sender.start()
    while transfer.waits == 0:
        sender.join(0.01)  # it has found the lane full
    assert sender.is_alive() and len(parcels) == 1
    gate.set()
    sender.join()
    assert [transfer.fetch(parcel).mean() for parcel in parcels] == [0.0, 1.0]


def test_nothing_waits_where_there_is_room():
    transfer, _ = filled(in_flight=1 << 30)
    assert transfer.waits == 0


@pytest.mark.parametrize("layers", [1, 4])
def test_one_layer_at_a_time_is_at_home(layers):
    """The backward pass of layer i finds i and i − 1 on the device, and everything below still on the host."""
    x = torch.randn(80, 80, requires_grad=True)
    homes: list[int] = []
    with ActivationStore(Policy(offload=True)) as store:
        y = x
        for number in range(layers):
            y = region("layer", _Layer(number, lambda: homes.append(len(brought(store.transfer)))), y)
    y.sum().backward()
    assert homes == [min(layers, i + 2) for i in range(layers)]
    lanes = {span.lane: sum(s.lane == span.lane for s in store.timeline()) for span in store.timeline()}
    assert lanes == dict.fromkeys(("forward", "out", "home", "backward"), layers)
    assert all(span.end >= span.start for span in store.timeline())


class _Layer:
    """exp, and word of its backward pass."""

    def __init__(self, number, tell):
        self.number, self.tell = number, tell

    def __call__(self, x):
        y = x.clone()
        y.register_hook(lambda _: self.tell())
        return y.exp()
