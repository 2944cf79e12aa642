"""The loop, its snapshots, and the batches of fine-tuning."""

import itertools
import json
import random

import pytest
import torch

from k2lib import K2Config, K2Model
from k2lib.model.moe import router_loads
from k2lib.optim import MuonClip
from k2lib.profiles import SMOKE
from k2lib.train import Batch, Snapshot, load_checkpoint, save_checkpoint, train
from k2lib.train.finetune import batches, packed
from k2lib.train.step import backward

CONFIG = K2Config.preset("nano").replace(**SMOKE.model | {"vocab_size": 128, "num_hidden_layers": 2})


def counting(start: int):
    """Sequences that count upwards: easy to learn, and a function of the step alone."""
    for step in itertools.count(start):
        generator = torch.Generator().manual_seed(step)
        first = torch.randint(0, 100, (4, 1), generator=generator)
        yield Batch.from_sequences((first + torch.arange(17)) % 100)


def run(steps: int, snapshot: Snapshot | None = None, stop_after: int | None = None):
    torch.manual_seed(0)
    model = K2Model(CONFIG)
    optimizer = MuonClip.for_model(model, lr=1e-2, tau=30.0)

    def killed(iterable, _description, _total):
        yield from itertools.islice(iterable, stop_after)

    history = train(
        model, optimizer, counting, steps=steps, lr_at=lambda step: 1e-2, progress=killed, snapshot=snapshot
    )
    return model, history


def test_the_loop_learns_to_count():
    _, history = run(40)
    assert history[0].loss > 4.0
    assert history[-1].loss < 0.6 * history[0].loss


def test_every_step_records_the_maximum_logit_of_every_head():
    _, history = run(2)
    assert [len(heads) for heads in history[-1].max_logits] == [CONFIG.num_attention_heads] * CONFIG.num_hidden_layers


def test_a_killed_run_continues_to_the_same_weights(tmp_path):
    whole, _ = run(6)
    snapshot = Snapshot(tmp_path / "run.pt", every_seconds=0.0)
    run(6, snapshot, stop_after=3)
    resumed, history = run(6, snapshot)
    assert [r.step for r in history] == list(range(6))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize("keep", [0, 100, -20])
def test_a_truncated_snapshot_is_set_aside_and_the_run_begins_anew(tmp_path, keep):
    whole, _ = run(3)
    snapshot = Snapshot(tmp_path / "run.pt", every_seconds=0.0)
    run(3, snapshot, stop_after=2)
    snapshot.path.write_bytes(snapshot.path.read_bytes()[:keep])
    with pytest.warns(UserWarning, match=r"run\.pt is damaged .*set aside as run\.damaged, and the run begins anew"):
        again, history = run(3, snapshot)
    assert len(history) == 3 and (tmp_path / "run.damaged").exists()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step():
    model = K2Model(CONFIG)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 0: the loss is nan"):
        train(model, MuonClip.for_model(model, lr=1e-2), counting, steps=1, lr_at=lambda step: 1e-2)


def poisoned(bad: int):
    """Batches like `counting`'s of which the gradients of one are NaN; and the steps that were asked for."""
    asked = []

    def gradients(model, batch):
        loss = backward(model, batch)
        if asked[-1] == bad:
            next(p for p in model.parameters() if p.grad is not None).grad[0, 0] = float("nan")
        return loss

    def source(start):
        for step, batch in zip(itertools.count(start), counting(start), strict=False):
            asked.append(step)
            yield batch

    return gradients, source, asked


def test_a_refused_step_leaves_no_gradients_and_no_counts():
    torch.manual_seed(0)
    model = K2Model(CONFIG)
    optimizer = MuonClip.for_model(model, lr=1e-2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients, source, _ = poisoned(0)
    with pytest.raises(FloatingPointError, match=r"step 0: the gradient of .* is not finite"):
        train(model, optimizer, source, steps=1, lr_at=lambda step: 1e-2, gradients=gradients)
    assert all(p.grad is None for p in model.parameters())
    assert all(not load.any() for load in router_loads(model))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_batch_that_is_not_finite_can_be_skipped_and_a_resume_does_not_meet_it_again(tmp_path):
    def go(steps, snapshot=None):
        torch.manual_seed(0)
        model = K2Model(CONFIG)
        gradients, source, asked = poisoned(1)
        how = {"lr_at": lambda step: 1e-2, "gradients": gradients, "skip_non_finite": True, "snapshot": snapshot}
        return model, train(model, MuonClip.for_model(model, lr=1e-2), source, steps=steps, **how), asked

    whole, history, asked = go(4)
    assert [r.loss is None for r in history] == [False, True, False, False] and asked == [0, 1, 2, 3]
    snapshot = Snapshot(tmp_path / "run.pt", every_seconds=0.0)
    go(2, snapshot)
    resumed, history, asked = go(4, snapshot)
    assert asked == [2, 3] and len(history) == 4
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in resumed.state_dict().items())


def test_a_target_of_minus_100_does_not_count():
    torch.manual_seed(0)
    model, tokens = K2Model(CONFIG), torch.randint(0, CONFIG.vocab_size, (2, 9))
    targets = torch.randint(0, CONFIG.vocab_size, (2, 9))
    targets[0, 3:] = -100
    logits = model(tokens)
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(model.loss(tokens, targets), expected)
    weights = torch.ones(2, 9)
    weights[0, 3:] = 0
    torch.testing.assert_close(model.loss(tokens, targets.clamp_min(0), weights), expected)


def test_ragged_rows_train_only_what_the_assistant_says():
    batch = Batch.from_ragged([([1, 2, 3, 4], [False, False, True, True]), ([5, 6], [False, True])], pad=0, multiple=4)
    assert batch.tokens.tolist() == [[1, 2, 3, 0], [5, 0, 0, 0]]
    assert batch.targets.tolist() == [[2, 3, 4, 0], [6, 0, 0, 0]]
    assert batch.weights.tolist() == [[0, 1, 1, 0], [1, 0, 0, 0]]


def test_padding_changes_no_loss():
    torch.manual_seed(0)
    model = K2Model(CONFIG).eval()
    rows = [([1, 2, 3, 4, 5], [False, True, True, True, True])]
    short, long = (Batch.from_ragged(rows, pad=0, multiple=m) for m in (4, 16))
    assert model.loss(*short).item() == pytest.approx(model.loss(*long).item(), abs=1e-5)


def test_an_epoch_of_fine_tuning_sees_every_row_once_and_resumes_in_place():
    rows = [([i] * 3, [False, True, True]) for i in range(1, 33)]
    stream = batches(rows, batch_size=2, seq_len=5, pad=0, seed=3)
    steps = list(itertools.islice(stream(0), 40))
    assert {int(token) for batch in steps[:8] for token in batch.tokens.flatten()} - {0} == set(range(1, 33))
    for start in (1, 8, 23):
        assert all(map(torch.equal, next(stream(start)), steps[start]))


def test_rows_are_packed_whole_and_tightly():
    rng = random.Random(0)
    rows = [([0] * rng.randint(2, 40), [True]) for _ in range(500)]
    sequences = packed(rng.sample(range(500), 500), rows, 64)
    assert sorted(itertools.chain(*sequences)) == list(range(500))
    used = [sum(len(rows[row][0]) - 1 for row in sequence) for sequence in sequences]
    assert max(used) <= 64 and sum(used) > 0.93 * 64 * len(used)


def test_packed_rows_give_the_loss_and_the_gradients_of_rows_apart():
    torch.manual_seed(0)
    model = K2Model(CONFIG)
    words = [torch.randint(1, CONFIG.vocab_size, (n,)).tolist() for n in (5, 9, 4)]
    rows = [(ids, [False] + [len(ids) % 2 == 0 or i > 2 for i in range(len(ids) - 1)]) for ids in words]
    together, apart = Batch.from_packed([rows], 24, 0), Batch.from_ragged(rows, 0)
    assert together.starts[0].tolist() == [0] * 4 + [4] * 8 + [12] * 3 + [15] * 9
    found = []
    for batch in (together, apart):
        loss = model.loss(*batch)
        found.append(
            [loss, *torch.autograd.grad(loss, [model.embed_tokens.weight, model.layers[0].self_attn.kv_b_proj.weight])]
        )
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)
    seeing = model.loss(together.tokens, together.targets, together.weights)
    assert abs(seeing - found[0][0]) > 1e-4


def test_too_few_rows_for_a_batch_are_said_so():
    with pytest.raises(ValueError, match="2 rows cannot fill 4 sequences of 8 tokens"):
        batches([([1, 2], [True, True])] * 2, batch_size=4, seq_len=8, pad=0, seed=0)


def test_a_checkpoint_round_trips_and_a_damaged_one_is_named(tmp_path, tiny_tokenizer):
    torch.manual_seed(1)
    model = K2Model(CONFIG.replace(vocab_size=tiny_tokenizer.vocab_size))
    save_checkpoint(tmp_path / "c", model, tiny_tokenizer, {"stage": "test"})
    loaded = load_checkpoint(tmp_path / "c")
    assert loaded.training == {"stage": "test"}
    tokens = torch.arange(12)[None]
    assert torch.equal(loaded.model.cpu().eval()(tokens), model.eval()(tokens))
    (tmp_path / "c" / "training.json").write_text(json.dumps({})[:-1])
    with pytest.raises(ValueError, match=r"training\.json is not valid JSON"):
        load_checkpoint(tmp_path / "c")
    with pytest.raises(FileNotFoundError, match="is not a checkpoint"):
        load_checkpoint(tmp_path / "nowhere")
