"""Generation: the latent cache equals the full forward pass; sequences do not disturb each other."""

import copy
import math

import pytest
import torch

from k2lib.model import parity
from k2lib.model.cache import LatentCache
from k2lib.model.generate import draw, sample

CASES = parity.cases()
TINY = CASES["K2"]


@pytest.fixture(scope="module")
def model():
    return parity.random_model(TINY, 0)


def prompts(*lengths: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(len(lengths))
    return [torch.randint(0, TINY.vocab_size, (n,), generator=generator).tolist() for n in lengths]


@pytest.mark.parametrize("case", ["K2", "whole query", "groups", "K2's YaRN"])
def test_cached_decoding_gives_the_logits_of_the_full_forward_pass(case):
    model = parity.random_model(CASES[case], 0)
    tokens = torch.randint(0, 128, (2, 30))
    cache = LatentCache(model, 2, 30)
    with torch.no_grad():
        parts = [model.hidden(tokens[:, a:b], cache) for a, b in ((0, 13), (13, 14), (14, 30))]
        torch.testing.assert_close(model.lm_head(torch.cat(parts, 1)), model(tokens), atol=1e-4, rtol=0)


def test_the_cache_holds_latent_and_rotary_key_and_nothing_per_head(model):
    cache = LatentCache(model, 1, 8)
    assert cache.bytes_per_token == TINY.num_hidden_layers * (TINY.kv_lora_rank + TINY.qk_rope_head_dim) * 4
    with torch.autocast("cpu", torch.bfloat16):
        assert LatentCache(model, 1, 8).bytes_per_token * 2 == cache.bytes_per_token


def test_a_ragged_batch_says_what_each_prompt_says_alone_with_the_models_own_logprobs(model):
    batch = prompts(1, 300, 77, 5)  # 300: two prefill chunks
    for i, completion in enumerate(sample(model, batch, max_new_tokens=12)):
        assert completion.tokens == sample(model, batch[i : i + 1], max_new_tokens=12)[0].tokens
        whole = torch.tensor([batch[i] + completion.tokens])
        expected = model.token_logprobs(whole)[0, -12:]
        torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-4, rtol=0)


def test_sampling_is_seeded_per_sequence_whoever_else_is_in_the_batch(model):
    batch = prompts(9, 4, 20)
    settings = dict(max_new_tokens=10, temperature=1.0, top_p=0.9)
    together = [c.tokens for c in sample(model, batch, seed=3, **settings)]
    assert together[0] == sample(model, batch[:1], seed=3, **settings)[0].tokens
    assert together == [c.tokens for c in sample(model, batch, seed=3, **settings)]
    assert together != [c.tokens for c in sample(model, batch, seed=4, **settings)]


def test_samples_of_one_prompt_share_its_prefill_and_differ(model):
    prompt = prompts(40)[0]
    read = []
    hook = model.lm_head.register_forward_pre_hook(lambda *_: None)  # a hook on the caller's model survives the copy
    embedding = model.embed_tokens.register_forward_hook(lambda module, args, out: read.append(tuple(args[0].shape)))
    completions = sample(model, [prompt] * 6, max_new_tokens=5, temperature=1.0)
    hook.remove()
    embedding.remove()
    assert read == [(1, 40)] + [(6, 1)] * 4
    assert len({tuple(c.tokens) for c in completions}) > 1


def test_logprobs_are_of_the_model_itself_whatever_the_temperature(model):
    prompt = prompts(6)[0]
    completion = sample(model, [prompt], max_new_tokens=8, temperature=3.0, top_p=0.7)[0]
    expected = model.token_logprobs(torch.tensor([prompt + completion.tokens]))[0, -8:]
    torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-4, rtol=0)


def test_draws_follow_the_distribution_and_top_p_keeps_the_likeliest():
    p = torch.tensor([0.1, 0.5, 0.0, 0.3, 0.1])
    chance = (torch.arange(1000) + 0.5) / 1000
    counts = torch.bincount(draw(p.log().expand(1000, -1), 1.0, chance), minlength=5)
    torch.testing.assert_close(counts / 1000, p, atol=0.002, rtol=0)
    kept = torch.bincount(draw(p.log().expand(1000, -1), 0.75, chance), minlength=5)
    torch.testing.assert_close(kept / 1000, torch.tensor([0, 0.625, 0, 0.375, 0]), atol=0.002, rtol=0)
    assert (draw(torch.randn(64, 4096), 1.0, torch.full((64,), 1 - 2**-24)) < 4096).all()


def test_a_stop_token_ends_its_own_sequence_and_is_kept(model):
    batch = prompts(3, 8, 5, 30, 12)
    free = [c.tokens for c in sample(model, batch, max_new_tokens=20)]
    stops = (free[0][2], free[3][5])
    for tokens, completion in zip(free, sample(model, batch, max_new_tokens=20, stop_tokens=stops), strict=True):
        met = [i for i, token in enumerate(tokens) if token in stops]
        assert completion.tokens == (tokens[: met[0] + 1] if met else tokens)
        assert completion.finish == ("stop" if met else "length")
        assert len(completion.logprobs) == len(completion.tokens)


def test_tokens_are_streamed_in_order(model):
    streamed = [[], []]
    completions = sample(model, prompts(3, 7), max_new_tokens=6, on_token=lambda i, token, _: streamed[i].append(token))
    assert streamed == [c.tokens for c in completions]


def test_the_callers_model_is_left_as_it_was(model):
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16):
        sample(model, prompts(5, 9), max_new_tokens=4)
    assert model.training and all(m.max_logits is None for m in model.modules() if hasattr(m, "max_logits"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.dtype == torch.float32 and p.requires_grad for p in model.parameters())
    model.eval()


def test_mixed_precision_stays_near_fp32(model):
    batch = prompts(50, 20)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = sample(model, batch, max_new_tokens=6)
    for prompt, completion in zip(batch, mixed, strict=True):
        exact = model.token_logprobs(torch.tensor([prompt + completion.tokens]))[0, -6:]
        assert (torch.tensor(completion.logprobs) - exact).abs().max() < 0.2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompts": [[1], []]}, "every prompt needs at least one token"),
        ({"prompts": []}, "every prompt needs at least one token"),
        ({"prompts": [[1, 128]]}, "token 128 is outside the model's vocabulary of 128"),
        ({"max_new_tokens": 0}, "max_new_tokens = 0"),
        ({"max_new_tokens": 2.0}, "max_new_tokens = 2.0"),
        ({"temperature": -1.0}, "temperature = -1.0"),
        ({"temperature": math.nan}, "temperature = nan"),
        ({"temperature": math.inf}, "temperature = inf"),
        ({"top_p": math.nan}, "top_p = nan"),
        ({"stop": [[]]}, "stop holds an empty sequence"),
        ({"top_p": 0.0}, "top_p = 0.0"),
        ({"max_new_tokens": 512}, "a prompt of 1 tokens and 512 new ones exceed the model's 512 positions"),
    ],
)
def test_settings_out_of_range_are_refused(model, change, sentence):
    settings = {"prompts": [[1]], "max_new_tokens": 2} | change
    with pytest.raises(ValueError, match=r"^[^\n]+$") as error:
        sample(model, settings.pop("prompts"), **settings)
    assert sentence in str(error.value)


def test_a_low_temperature_takes_the_likeliest_token_and_a_high_one_any(model):
    batch = prompts(9, 4)
    greedy = [c.tokens for c in sample(model, batch, max_new_tokens=10)]
    for seed in range(3):
        assert [c.tokens for c in sample(model, batch, max_new_tokens=10, temperature=1e-5, seed=seed)] == greedy
    warm = [c.tokens for c in sample(model, batch, max_new_tokens=100, temperature=1e5)]
    assert len(set(warm[0] + warm[1])) > 60  # of 128 tokens, all about as likely


def test_generate_ends_rows_at_eos_or_a_stop_sequence_and_fills_them(model):
    tokens = torch.tensor(prompts(5, 5))
    free = model.generate(tokens, 8)[:, 5:].tolist()
    eos = free[0][2]
    ended = [row[: row.index(eos) + 1] if eos in row else row for row in free]
    width = max(map(len, ended))
    found = model.generate(tokens, 8, eos_token_id=eos, pad_token_id=7)[:, 5:].tolist()
    assert found == [row + [7] * (width - len(row)) for row in ended] and len(ended[0]) < 8
    pair = free[0][1:3]
    first = next(n for n in range(2, 9) if free[0][n - 2 : n] == pair)
    assert model.generate(tokens[:1], 8, stop=[pair])[0, 5:].tolist() == free[0][:first]
    assert model.generate(tokens, 8, eos_token_id=[row[0] for row in free]).shape == (2, 6)


def test_padding_on_the_left_is_not_read(model):
    long, short = prompts(6, 4)
    tokens = torch.tensor([long, [9, 9, *short]])
    mask = torch.tensor([[1] * 6, [0, 0, 1, 1, 1, 1]])
    both = model.generate(tokens, 5, attention_mask=mask)[:, 6:]
    for row, prompt in zip(both, (long, short), strict=True):
        assert row.tolist() == model.generate(torch.tensor([prompt]), 5)[0, len(prompt) :].tolist()
    for bad in ([1, 1, 1, 1, 0, 0], [1, 0, 1, 1, 1, 1], [0] * 6):
        with pytest.raises(ValueError, match="pad prompts on the left"):
            model.generate(tokens, 5, attention_mask=torch.tensor([[1] * 6, bad]))
    with pytest.raises(ValueError, match=r"attention_mask is \[1, 6\] and tokens are \[2, 6\]"):
        model.generate(tokens, 5, attention_mask=mask[:1])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_named(model, value):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.lm_head.weight[3] = value
    with pytest.raises(FloatingPointError, match="the logits of sequence 0 are not finite at its new token 0"):
        sample(broken, prompts(5, 4), max_new_tokens=2, temperature=1.0)
