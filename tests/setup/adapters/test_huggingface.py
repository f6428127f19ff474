"""Hugging Face models with the real library: their own loss, causality, tied and expected-missing tensors, weights."""

from __future__ import annotations

import math

import pytest
import torch

import nnlint
from nnlint.finding import Level
from nnlint.setup import SetupOptions, coerce
from tests.libraries import library

transformers = library("transformers")
VOCABULARY = 200
SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
}


def bert(head, **settings):
    torch.manual_seed(0)
    return getattr(transformers, f"Bert{head}")(transformers.BertConfig(**SIZES, **settings))


def gpt2():
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=VOCABULARY, n_positions=64)
    return transformers.GPT2LMHeadModel(config)


def llama():
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, num_key_value_heads=2))


def vit():
    torch.manual_seed(0)
    sizes = {
        name: SIZES[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    }
    config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8, num_labels=5)
    return transformers.ViTForImageClassification(config)


def ids(samples=16, length=12):
    return torch.randint(10, VOCABULARY, (samples, length), generator=torch.Generator().manual_seed(0))


def loud(report):
    return [(item.code, item.module) for item in report.findings if item.level.at_least(Level.WARNING)]


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: bert("ForSequenceClassification", num_labels=3), math.log(3)),
        (lambda: bert("ForSequenceClassification", num_labels=1), None),
        (
            lambda: bert("ForSequenceClassification", num_labels=4, problem_type="multi_label_classification"),
            math.log(2),
        ),
        (lambda: bert("ForTokenClassification", num_labels=4), math.log(4)),
        (lambda: bert("ForMaskedLM"), math.log(VOCABULARY)),
        (lambda: bert("ForQuestionAnswering"), math.log(16)),
        (gpt2, math.log(VOCABULARY)),
        (llama, math.log(VOCABULARY)),
        (vit, math.log(5)),
    ],
    ids=["classes", "regression", "multilabel", "tokens", "masked", "spans", "gpt2", "llama", "vit"],
)
def test_a_bare_model_is_checked_with_its_own_loss(build, expected):
    model = build()
    setup = coerce(model)
    assert setup.loss is None
    assert setup.targets_assumed
    loss = setup.run()[1].detach()
    assert expected is None or float(loss) == pytest.approx(expected, abs=0.35)
    report = nnlint.check(model)
    assert loud(report) == []
    assert "LOS018" not in {item.code for item in report.results[0].skipped}


@pytest.mark.parametrize(
    ("build", "causal"),
    [(gpt2, True), (llama, True), (lambda: bert("LMHeadModel", is_decoder=True), True), (lambda: bert("LMHeadModel"), False)],
    ids=["gpt2", "llama", "bert decoder", "bert encoder"],
)  # fmt: skip
@pytest.mark.parametrize("given", [False, True], ids=["made up", "own batch"])
def test_decoders_are_causal(build, causal, given):
    value = {"model": build(), "inputs": {"input_ids": ids(), "labels": ids()}} if given else build()
    setup = coerce(value)
    assert setup.causal is causal
    assert setup.task == "language-modeling"


def test_what_the_user_says_of_causality_stands():
    assert coerce({"model": gpt2(), "causal": False}).causal is False


def test_labels_given_apart_reach_the_models_loss():
    batch = ids()
    apart = coerce({"model": gpt2(), "inputs": {"input_ids": batch}, "targets": batch})
    alone = coerce({"model": gpt2(), "inputs": batch, "targets": batch})
    inside = coerce({"model": gpt2(), "inputs": {"input_ids": batch, "labels": batch}})
    for setup in (apart, alone, inside):
        setup.model.eval()
    assert torch.equal(apart.run()[1], inside.run()[1])
    assert torch.equal(alone.run()[1], inside.run()[1])


def test_a_loss_given_by_the_user_stands():
    model = bert("ForSequenceClassification", num_labels=3)
    labels = torch.arange(16) % 3
    loss = lambda output, targets: 7 * torch.nn.functional.cross_entropy(output.logits, targets)  # noqa: E731
    setup = coerce({"model": model.eval(), "inputs": {"input_ids": ids()}, "targets": labels, "loss": loss})
    assert "labels" not in setup.inputs
    expected = 7 * model(ids(), labels=labels).loss.detach()
    assert torch.allclose(setup.run()[1].detach(), expected)


def test_a_loader_of_encodings():
    labels = torch.arange(16) % 3
    batches = [{"input_ids": ids(), "attention_mask": torch.ones(16, 12, dtype=torch.long), "labels": labels}]
    report = nnlint.check((bert("ForSequenceClassification", num_labels=3), batches))
    assert loud(report) == []


def test_a_label_out_of_range_is_found_in_the_models_own_loss():
    model = bert("ForSequenceClassification", num_labels=3)
    report = nnlint.check({"model": model, "inputs": {"input_ids": ids(), "labels": torch.arange(16) % 4}})
    assert "LOS009" in {code for code, _ in loud(report)}


def test_a_causal_leak_in_a_decoder_is_found():
    model = gpt2()
    for block in model.transformer.h:
        block.attn.is_causal = False
        block.attn.forward = _sees_everything(block.attn)
    report = nnlint.check({"model": model, "inputs": {"input_ids": ids(), "labels": ids()}, "causal": True})
    assert "ARC018" in {code for code, _ in loud(report)}


def _sees_everything(attention):
    def forward(hidden_states, *args, **kwargs):
        query, key, value = attention.c_attn(hidden_states).split(attention.split_size, dim=2)
        weights = (query @ key.transpose(1, 2) / attention.split_size**0.5).softmax(-1)
        return attention.c_proj(weights @ value), weights

    return forward


# -------------------------------------------------------------------- weights


def check_weights(model, state, tmp_path, **settings):
    torch.save(state, tmp_path / "weights.pt")
    return nnlint.check(model, weights=str(tmp_path / "weights.pt"), select=("INI013",), **settings)


def trained(state):
    """The state as training would leave it: no tensor looks initialized."""
    return {name: tensor + 0.1 * tensor.abs().sqrt() + 0.01 for name, tensor in state.items()}


def test_tied_tensors_are_not_missing(tmp_path):
    model = gpt2()
    assert "lm_head.weight" in model._tied_weights_keys
    state = trained(model.state_dict())
    del state["lm_head.weight"]
    setup = coerce(gpt2(), _options(state, tmp_path))
    assert setup.weights.missing == ()


def test_expected_missing_tensors_are_not_missing(tmp_path):
    state = trained(gpt2().state_dict())
    del state["transformer.h.0.ln_1.weight"]
    model = gpt2()
    model._keys_to_ignore_on_load_missing = [r"h\.0\.ln_1"]
    state["transformer.h.0.attn.masked_bias"] = torch.ones(1)
    model._keys_to_ignore_on_load_unexpected = [r"attn\.masked_bias"]
    report = coerce(model, _options(state, tmp_path)).weights
    assert (report.missing, report.unexpected) == ((), ())


def _options(state, tmp_path):
    torch.save(state, tmp_path / "weights.pt")
    return SetupOptions(weights="weights.pt", directory=tmp_path)


def test_a_base_model_in_a_model_with_a_head(tmp_path):
    state = trained(bert("Model").state_dict())
    report = check_weights(bert("ForSequenceClassification", num_labels=3), state, tmp_path)
    assert loud(report) == []
    setup = coerce(bert("ForSequenceClassification", num_labels=3), _options(state, tmp_path))
    assert setup.weights.missing == ("classifier.weight", "classifier.bias")


def test_a_model_with_a_head_in_a_base_model(tmp_path):
    state = trained(bert("ForSequenceClassification", num_labels=3).state_dict())
    setup = coerce(bert("Model"), _options(state, tmp_path))
    assert setup.weights.missing == ()
    assert setup.weights.unexpected == ("classifier.weight", "classifier.bias")


def test_a_checkpoint_without_a_layer_is_reported(tmp_path):
    state = {name: value for name, value in trained(gpt2().state_dict()).items() if ".h.1." not in name}
    report = check_weights(gpt2(), state, tmp_path)
    assert loud(report) == [("INI013", "transformer.h.1.ln_1")]
    assert "12 tensors of the model are not in it (transformer.h.1.ln_1.weight" in report.findings[0].message
