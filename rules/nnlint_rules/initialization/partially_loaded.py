"""INI013: a checkpoint that did not reach the whole model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, Place, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.initialization._fresh import feeds, has_trained_bias, is_certain, is_fed, readers_of

if TYPE_CHECKING:
    from nnlint import Graph, LoadedWeights, Located, Parameters, ParameterView

#: Components of a path that call a layer the head: new for a new task.
_HEADS = frozenset(
    {"head", "heads", "classifier", "classifiers", "fc", "fc_out", "lm_head", "score", "cls", "logits", "proj_out"}
    | {"prediction", "predictions", "out", "output", "qa_outputs", "final", "final_layer", "last_layer", "last_linear"}
    | {"fc_norm", "head_drop", "pooler"}
)
#: Parts of a component by which small trainable additions to a trained model are called.
_ADDITIONS = ("lora", "adapter", "prompt", "prefix", "ia3", "new")


class PartialLoad(Options):
    """When a layer counts as one that the checkpoint missed; calibration: docs/evidence/calibration.md#fresh-weights."""

    trained_share: float = Field(
        default=0.5, description="share of trained weight matrices that makes a model a trained one"
    )
    smallest: int = Field(default=1024, description="weights in the smallest matrix whose values tell")


@rule("INI013", "partially-loaded", level="warning", since="0.1")
def check(graph: Graph, parameters: Parameters, options: PartialLoad) -> Iterator[Finding]:
    """A checkpoint that left layers of the model at their random initialization.

    ## What it does
    After `--weights FILE`: lists the tensors of the model that the checkpoint lacks or has in another shape. Where the build
    function or the script loads a state dict with `strict=False`: those that it has under another prefix
    (`module.encoder.0.weight`), or whole parts under another name, if nothing writes to them afterwards. Without either, in a
    model whose weights are mostly trained: looks for weight matrices whose values are still those of a known initialization
    although trained layers work on their outputs. A new head (a last layer called head, classifier, fc, ...), tied tensors,
    what a Hugging Face model declares to be derived, adapters (LoRA) and a single replaced input layer are left out. Tensors of
    the checkpoint that no layer takes, in a model that is otherwise complete, are reported as info.

    ## Why is this bad?
    `load_state_dict(..., strict=False)` says nothing. Names that differ by a prefix leave whole stages random, and the
    trained layers after them get noise: training starts far back, and a frozen backbone never recovers.

    ## Example
        model.load_state_dict(torch.load("backbone.pt"), strict=False)

    ## Use instead
        missing, unexpected = model.load_state_dict(state, strict=False)
        assert set(missing) == {"head.weight", "head.bias"}, missing

    ## References
    - PyTorch documentation: torch.nn.Module.load_state_dict (strict)
    - Yosinski et al.: How transferable are features in deep neural networks?, 2014, arXiv:1411.1792
    """
    if parameters.loaded is not None:
        yield from _left_out(parameters.loaded, parameters)
        return
    fresh = _fresh_layers(graph, parameters, options)
    if fresh:
        names = [view.name for view in fresh]
        yield Finding(
            at=fresh[0],
            message=f"most weights of the model are trained, but {listed(names, limit=3)} still "
            f"{'looks' if len(fresh) == 1 else 'look'} freshly initialized ({_family(fresh[0])}), and trained layers work on "
            f"{'its' if len(fresh) == 1 else 'their'} outputs: the checkpoint was not loaded there",
            evidence={"fresh": [*names], "init": _family(fresh[0])},
            fix="print what load_state_dict(..., strict=False) returns, and rename the keys that are missing",
            modules=tuple(dict.fromkeys(view.module_path for view in fresh)),
            confidence="medium",
        )


# -------------------------------------------------------------------- a checkpoint that nnlint loaded


def _left_out(loaded: LoadedWeights, parameters: Parameters) -> Iterator[Finding]:
    missing = [name for name in loaded.missing if not _is_new(name)]
    mismatched = {name: text for name, text in loaded.mismatched.items() if not _is_new(name)}
    unexpected = [name for name in loaded.unexpected if not _is_new(name)]
    if not (missing or mismatched or unexpected):
        return
    parts = []
    if missing:
        parts.append(f"{len(missing)} tensors of the model are not in it ({listed(missing, limit=3)})")
    if mismatched:
        shapes = [f"{name}: {text}" for name, text in mismatched.items()]
        parts.append(f"{len(mismatched)} have another shape ({listed(shapes, limit=3)})")
    if unexpected:
        parts.append(f"{len(unexpected)} of its tensors have no place in the model ({listed(unexpected, limit=3)})")
    random = [*missing, *mismatched]
    lead = "these layers keep their random values" if random else "is this the checkpoint of this model?"
    yield Finding(
        at=_place((random or [""])[0], loaded, parameters),
        level=None if random else Level.INFO,
        message=f"{loaded.file} was loaded in part: {'; '.join(parts)}: {lead}",
        evidence={
            "loaded": len(loaded.loaded),
            "missing": [*missing[:50]],
            "mismatched": [*list(mismatched)[:50]],
            "unexpected": [*unexpected[:50]],
        },
        fix="rename the keys of the checkpoint to the model's before loading, or build the model as it was saved",
        modules=tuple(dict.fromkeys(name.rpartition(".")[0] for name in random)),
    )


def _place(name: str, loaded: LoadedWeights, parameters: Parameters) -> Located:
    if loaded.location is not None:
        return Place(name.rpartition(".")[0], loaded.location)
    return parameters.find(name) or Place(name.rpartition(".")[0])


def _is_new(name: str) -> bool:
    """Whether the name says that the tensor belongs to a new head or to an addition to a trained model."""
    components = name.lower().split(".")
    return not _HEADS.isdisjoint(components) or any(part in word for word in components for part in _ADDITIONS)


# -------------------------------------------------------------------- a model that the user loaded


def _fresh_layers(graph: Graph, parameters: Parameters, options: PartialLoad) -> list[ParameterView]:
    """Weights as initialized, below trained ones, in a model that is mostly trained."""
    judged = [view for view in parameters.of_kind("weight", "recurrent") if view.finite and view.numel >= options.smallest]
    told = {view.name for view in judged if has_trained_bias(view, parameters)}
    trained = told | {view.name for view in judged if view.init is None}
    if not trained or len(trained) < options.trained_share * len(judged):
        return []
    looking = [view for view in judged if is_certain(view) and not _is_new(view.name)]
    # Beside layers whose bias is fresh too, one whose bias is trained only looks so.
    fresh = [view for view in looking if view.name not in told] or looking
    readers = readers_of(graph)
    below = [view for view in fresh if any(feeds(graph, op, trained) for op in readers.get(view.name, ()))]
    if len(below) == 1 and not any(is_fed(graph, op, trained) for op in readers[below[0].name]):
        return []  # one new input layer: for images of another number of channels
    return below


def _family(view: ParameterView) -> str:
    return view.init.name if view.init is not None else ""
