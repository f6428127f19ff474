"""What causes what: a finding of a rule on the left has findings of the rules on the right as its symptoms.

Where both are raised at the same place, the report shows the cause and, under it, the symptoms. The right side holds groups of
findings that come together, by what happens in the network, and single codes. A new rule that is a cause gets a row in the part of its
family; one that is a symptom is added to the groups it belongs to. Rules of other packs say it in the module `causes` of their
package, or in `@rule(..., explains=[...])`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# fmt: off
# -------------------------------------------------------------------- groups: what comes together

#: What numbers of the wrong size do to a network: signal, gradient, loss, updates and training alike.
WRONG_SCALE = (
    "ARC010", "ARC024", "GRD001", "GRD002", "GRD003", "GRD004", "GRD005", "LOS018", "LOS024", "OPT003", "OPT004",
    "OPT009", "SIG001", "SIG002", "SIG003", "SIG004", "SIG005", "SIG006", "SIG008", "SIG009", "SIG010", "TRN001",
    "TRN002", "TRN004", "TRN005",
)
#: Training gets nowhere, or runs away.
TRAINING_FAILS = ("TRN001", "TRN002", "TRN005")
#: Training gets nowhere: the batch cannot be fitted, the input is not used.
LEARNS_NOTHING = ("TRN001", "TRN005")
#: Training makes it worse.
RUNS_AWAY = ("TRN001", "TRN002")
#: The batch cannot be fitted, and units die on the way.
UNITS_LOST = ("TRN001", "TRN004")
#: The loss starts where no untrained model should be.
LOSS_AT_START = ("LOS018", "LOS024")
#: The output does not depend on the input, or on a part of it.
OUTPUT_FIXED = ("ARC010", "ARC011")
#: The signal gets smaller from layer to layer, until samples look alike.
SIGNAL_FADES = ("SIG004", "SIG006")
#: The signal gets larger from layer to layer, beyond what half precision holds.
SIGNAL_GROWS = ("SIG005", "SIG008")
#: Units that are off, or at their limit, for the whole batch.
UNITS_STUCK = ("SIG001", "SIG002")
#: Activations with narrow limits, one after the other, at their limits.
SQUASHED = ("ARC024", "SIG002")
#: The gradient fades, or does not arrive.
GRADIENT_LOST = ("GRD001", "GRD003")
#: The gradient is larger than a step can use.
GRADIENT_GROWS = ("GRD002", "GRD005")
#: Parameters that get no gradient, or are in no optimizer.
NOT_TRAINED = ("GRD003", "OPT001")
#: Evaluation sees other statistics than training.
STATISTICS_OFF = ("NRM011", "SIG010")
#: Updates change next to nothing, or the decay outweighs them.
STEPS_TOO_SMALL = ("OPT004", "OPT009")

# -------------------------------------------------------------------- causes, by family

_CAUSES: dict[str, tuple[str, ...]] = {
    # the loss
    "LOS001": (*LEARNS_NOTHING, *LOSS_AT_START, *SIGNAL_FADES, "ARC006", "ARC019", "GRD001", "LOS008"),  # softmax-before-cross-entropy
    "LOS002": (*LEARNS_NOTHING, *SIGNAL_FADES, *SQUASHED, "ARC006", "GRD001", "LOS013", "LOS018"),  # sigmoid-before-cross-entropy
    "LOS003": (*TRAINING_FAILS, *LOSS_AT_START, "GRD002", "OPT004", "SIG005"),  # nll-without-log-softmax
    "LOS004": ("ARC006",),  # log-softmax-before-cross-entropy
    "LOS005": (  # sigmoid-before-bce-with-logits
        *LEARNS_NOTHING, *SIGNAL_FADES, *SQUASHED, "ARC006", "GRD001", "LOS013", "LOS017", "LOS018", "LOS034",
    ),
    "LOS006": (*TRAINING_FAILS, *LOSS_AT_START, "LOS017", "SIG003"),  # logits-into-bce
    "LOS007": (  # softmax-over-one-unit
        *LEARNS_NOTHING, *OUTPUT_FIXED, "ARC002", "ARC006", "ARC019", "GRD001", "LOS001", "LOS018", "SIG006",
    ),
    "LOS008": (*LEARNS_NOTHING, *LOSS_AT_START, "ARC008", "ARC027", "LOS003", "SIG006"),  # softmax-over-batch
    "LOS009": (*TRAINING_FAILS, "LOS018"),  # too-few-classes
    "LOS011": (  # one-logit-cross-entropy
        *LEARNS_NOTHING, "DAT012", "GRD003", "LOS001", "LOS002", "LOS004", "LOS007", "LOS009", "LOS015", "LOS018",
    ),
    "LOS013": (*LEARNS_NOTHING, *LOSS_AT_START),  # softmax-for-multilabel
    "LOS015": (*LEARNS_NOTHING, "ARC011", "DAT010", "LOS014", "LOS018"),  # loss-broadcast
    "LOS016": (*TRAINING_FAILS, *LOSS_AT_START, *UNITS_STUCK, "ARC010", "DAT010", "GRD001", "LOS019", "SIG003"),  # target-out-of-range
    "LOS017": (*LEARNS_NOTHING, *UNITS_STUCK, "GRD003", "LOS018", "TRN004"),  # rectified-logits
    "LOS018": ("TRN002",),  # initial-loss
    "LOS020": ("RUN012", *TRAINING_FAILS, "ARC002", "ARC011", "OPT004"),  # loss-detached
    "LOS021": (*GRADIENT_GROWS, "OPT003"),  # sum-reduction
    "LOS022": (*TRAINING_FAILS, *LOSS_AT_START, "SIG003"),  # kl-div-domain
    "LOS023": (*LEARNS_NOTHING, "ARC018", "LOS008", "LOS009", "LOS013", "LOS018"),  # logits-layout
    "LOS024": (*RUNS_AWAY, "OPT004"),  # negative-loss
    "LOS025": (*TRAINING_FAILS, "DAT012", "GRD003", "GRD004", "LOS018", "LOS020", "OPT004", "SIG003"),  # all-targets-ignored
    "LOS026": (*TRAINING_FAILS, *LOSS_AT_START, "ARC008", "DAT010", "LOS013", "LOS019", "LOS031"),  # one-hot-index-confusion
    "LOS027": ("GRD004",),  # unstable-log-softmax
    "LOS028": ("DAT004", "LOS019", "TRN005"),  # padding-in-loss
    "LOS029": (*LEARNS_NOTHING, "LOS018", "LOS030"),  # label-shift
    "LOS031": (*TRAINING_FAILS, *LOSS_AT_START, "DAT014", "LOS019", "OPT004", "OPT008", "SIG003"),  # rewards-wrong-answers
    "LOS032": ("ARC011", "TRN002", "TRN005"),  # target-carries-gradient
    "LOS033": (*TRAINING_FAILS, *LOSS_AT_START, *OUTPUT_FIXED, *GRADIENT_LOST, "GRD006", "LOS019", "SIG003"),  # ctc-preconditions
    "LOS034": ("ARC006", "ARC024", "SIG004", "TRN005"),  # bounded-critic
    "LOS035": (*TRAINING_FAILS, *GRADIENT_LOST, "ARC002", "ARC011", "GRD006", "LOS018", "OPT004", "TRN004"),  # dead-loss-term
    "LOS036": (*GRADIENT_GROWS, "DAT010", "LOS018", "LOS021", "OPT003", "TRN002", "TRN004", "TRN005"),  # dominant-loss-term
    "LOS037": ("LOS018", "TRN005"),  # weight-from-mean-loss
    # the architecture
    "ARC001": NOT_TRAINED,  # unused-layer
    "ARC002": ("ARC001", "ARC005", "GRD003"),  # discarded-result
    "ARC003": (  # unregistered-layer: eval() does not reach its norms and dropouts either
        "ARC008", "ARC012", "ARC020", "LOS020", "OPT001", "OPT002", "SIG007", "SIG010", "TRN001",
    ),
    "ARC004": ("ARC008", "ARC012", "ARC020", "LOS020", "OPT001", "SIG007", "TRN001"),  # layer-created-in-forward
    "ARC006": SQUASHED,  # repeated-activation
    "ARC007": ("ARC010", "GRD003", "LOS020", "OPT004", "TRN001"),  # gradient-cut
    "ARC008": ("ARC011", "ARC018", "TRN001"),  # batch-mixing
    "ARC009": (*OUTPUT_FIXED, "ARC008", "ARC018", "ARC021", "LOS008", "TRN001"),  # rnn-batch-first
    "ARC010": (*LEARNS_NOTHING, "ARC011", "ARC021", "GRD003", "LOS018", "SIG006"),  # constant-output
    "ARC012": STATISTICS_OFF,  # dropout-always-on
    "ARC013": ("ARC011",),  # stride-skips-input
    "ARC016": (*STATISTICS_OFF, "ARC017"),  # shared-norm
    "ARC017": ("ARC016", "INI007"),  # accidental-weight-sharing
    "ARC018": LEARNS_NOTHING,  # causal-leak
    "ARC019": (*SIGNAL_FADES, "GRD001", "INI001"),  # hidden-softmax
    "ARC020": (*NOT_TRAINED, "LOS020", "OPT002", "OPT011", "TRN001"),  # no-trainable-parameters
    "ARC024": (*SIGNAL_FADES, *GRADIENT_LOST, "INI001", "SIG002", "TRN001"),  # sigmoid-chain
    "ARC026": ("GRD002", "SIG005"),  # doubled-residual
    "ARC027": ("ARC010", "ARC018", "ARC021", "SIG006", "TRN001"),  # attention-softmax-axis
    "ARC029": (  # scrambled-view
        *LEARNS_NOTHING, "ARC008", "ARC009", "ARC010", "ARC018", "ARC021", "ARC027", "ARC031", "LOS008", "LOS015",
        "LOS018",
    ),
    "ARC030": ("ARC021", "TRN001"),  # position-along-wrong-axis
    "ARC031": (*OUTPUT_FIXED, "ARC008", "LOS015", "LOS018", "RUN003", "TRN001"),  # last-step-of-wrong-axis
    "ARC032": ("ARC010", "ARC011", "GRD004", "OPT009", "SIG003", "SIG010", "TRN002"),  # padding-read: a mask that is not used
    # the weights as they start
    "INI001": WRONG_SCALE,  # gain-mismatch
    "INI006": WRONG_SCALE,  # duplicate-units
    "INI009": WRONG_SCALE,  # dominant-bias
    "INI010": WRONG_SCALE,  # recurrent-scale
    "INI002": (*WRONG_SCALE, "INI001", "INI003", "INI004", "INI006", "INI007", "INI009"),  # constant-weights
    "INI003": (*WRONG_SCALE, "INI001", "INI009"),  # oversized-weights
    "INI004": (*WRONG_SCALE, "INI001"),  # undersized-weights
    "INI008": (*WRONG_SCALE, "INI001"),  # selu-init
    "INI011": (*WRONG_SCALE, "INI001"),  # embedding-scale
    "INI005": (*WRONG_SCALE, "NRM011"),  # non-finite-parameters
    "INI014": ("GRD003", "INI013", "LOS018", "OPT011", "TRN001"),  # fresh-layer-frozen
    # normalization and dropout
    "NRM001": STATISTICS_OFF,  # dropout-before-batch-norm
    "NRM007": STATISTICS_OFF,  # inverted-momentum
    "NRM009": STATISTICS_OFF,  # tiny-norm-batch
    "NRM010": STATISTICS_OFF,  # norm-left-in-eval
    "NRM004": ("GRD003",),  # redundant-bias
    "NRM005": (*SIGNAL_FADES, *GRADIENT_LOST, "ARC010", "NRM001", "SIG010", "TRN001"),  # extreme-dropout
    "NRM006": ("LOS018", "NRM003", "TRN001"),  # dropout-on-output
    "NRM008": (*LEARNS_NOTHING, *OUTPUT_FIXED, *SIGNAL_FADES, *GRADIENT_LOST, "NRM009", "SIG001", "TRN004"),  # normalize-one-value
    "NRM011": ("SIG010",),  # stale-running-stats
    "NRM013": ("LOS018",),  # norm-on-output
    # the data
    "DAT001": (  # unscaled-input
        *RUNS_AWAY, *SIGNAL_FADES, *SIGNAL_GROWS, *UNITS_STUCK, *GRADIENT_LOST, *GRADIENT_GROWS, "ARC024", "INI001",
        "LOS018", "OPT003", "SIG009", "TRN004",
    ),
    "DAT002": (  # constant-feature
        *LEARNS_NOTHING, *OUTPUT_FIXED, *SIGNAL_FADES, "ARC008", "DAT001", "DAT005", "DAT006", "LOS018", "SIG001",
    ),
    "DAT003": (  # non-finite-data
        *RUNS_AWAY, *LOSS_AT_START, *SIGNAL_GROWS, "ARC008", "ARC010", "DAT001", "DAT002", "DAT005", "DAT010", "GRD002",
        "GRD004", "LOS003", "LOS006", "LOS016", "OPT003", "SIG003", "SIG007", "SIG010",
    ),
    "DAT004": ("LOS019",),  # class-imbalance
    "DAT005": (  # feature-scale-disparity
        *RUNS_AWAY, *SIGNAL_FADES, *SIGNAL_GROWS, *UNITS_STUCK, *GRADIENT_LOST, "ARC024", "DAT001", "GRD002", "INI001",
        "LOS018", "OPT003",
    ),
    "DAT006": ("TRN001",),  # duplicate-samples
    "DAT007": ("DAT004", "DAT012", "LOS010", "LOS018", "LOS019"),  # sorted-batches
    "DAT008": (*UNITS_STUCK, "DAT001", "INI001", "LOS018", "OPT003", "SIG005"),  # input-dtype
    "DAT009": ("ARC013", "ARC014", "DAT002", "DAT005"),  # channels-last-input
    "DAT010": (*RUNS_AWAY, *GRADIENT_GROWS, "GRD004", "LOS018", "LOS019", "OPT003"),  # unscaled-target
    "DAT011": ("EVL003", "TRN006"),  # split-overlap
    "DAT012": (*LOSS_AT_START, "ARC010", "DAT006", "LOS010", "LOS019", "TRN005"),  # constant-target
    "DAT014": ("DAT004", "LOS019", "TRN005"),  # class-weights-inverted
    # the signal
    "SIG001": (*UNITS_LOST, *OUTPUT_FIXED, *GRADIENT_LOST, *STEPS_TOO_SMALL, "INI001", "SIG006"),  # dead-units
    "SIG002": (*GRADIENT_LOST, "ARC024", "LOS018", "SIG006", "TRN001"),  # saturated-units
    "SIG003": (*RUNS_AWAY, *LOSS_AT_START, *OUTPUT_FIXED, "GRD004", "OPT003", "SIG008"),  # non-finite-activation
    "SIG004": (*UNITS_LOST, "ARC010", "GRD001", "OPT009", "SIG006"),  # vanishing-signal
    "SIG005": (  # exploding-signal
        *RUNS_AWAY, "GRD002", "GRD004", "GRD006", "INI001", "LOS018", "OPT003", "SIG002", "SIG003", "SIG008", "SIG009",
        "TRN004",
    ),
    "SIG006": ("ARC010",),  # collapsed-features
    "SIG007": ("SIG010",),  # random-eval
    "SIG008": ("SIG003",),  # half-precision-overflow
    "SIG009": ("GRD001", "TRN001"),  # saturated-attention
    "SIG010": ("NRM011",),  # train-eval-gap
    # the gradient
    "GRD001": (*UNITS_LOST, *STEPS_TOO_SMALL),  # vanishing-gradient
    "GRD002": (*RUNS_AWAY, "GRD004", "GRD005", "OPT003", "TRN004"),  # exploding-gradient
    "GRD003": ("LOS007", "LOS020", "OPT004", "TRN001"),  # no-gradient
    "GRD004": (*RUNS_AWAY, *GRADIENT_GROWS, "GRD001", "GRD006", "OPT003", "SIG003"),  # non-finite-gradient
    "GRD007": ("GRD003", "TRN001"),  # wrong-custom-gradient
    # the optimizer
    "OPT001": ("OPT004", "TRN001"),  # parameter-not-optimized
    "OPT012": ("OPT004", "TRN001"),  # schedule-mismatch
    "OPT002": ("OPT001", "OPT004", "OPT011", "TRN001"),  # stale-optimizer
    "OPT003": (*GRADIENT_GROWS, "SIG001", "TRN002", "TRN004"),  # learning-rate-too-high
    "OPT005": (*RUNS_AWAY, "GRD003", "LOS021", "OPT004"),  # zero-learning-rate
    "OPT008": (*RUNS_AWAY, "GRD004"),  # epsilon-underflow
    "OPT009": ("TRN001",),  # excessive-weight-decay
    "OPT010": (*RUNS_AWAY, "OPT003", "OPT004"),  # extreme-momentum
    # training
    "TRN001": ("SIG006",),  # cannot-overfit
    "TRN002": (*GRADIENT_GROWS, "TRN004"),  # diverges
    "TRN003": ("ARC025", "LOS032", "OPT011"),  # frozen-parameter-moved
    "TRN005": (*OUTPUT_FIXED, *GRADIENT_LOST, "ARC008", "SIG006", "SIG010", "TRN001"),  # ignores-input
    # STP
    "STP003": ("STP002", "STP006"),  # step-before-backward
    "STP004": ("STP011",),  # missing-step
    "STP005": ("OPT005", "STP004", "STP006"),  # update-without-effect
    "STP006": ("ARC002", "GRD003"),  # backward-without-loss-path: a head whose output is read as a number
    "STP015": ("DAT007",),  # loader-not-shuffled
    "STP020": ("OPT001",),  # parameters-added-later
}
# fmt: on

#: What each rule explains, by its code: read by the registry. Whatever makes gradients zero makes steps without effect; a learning
#: rate of 0 does so by itself, and the observed steps name its line.
CAUSES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        code: (*known, "STP005") if code == "GRD003" or ("GRD003" in known and code != "OPT005") else known
        for code, known in _CAUSES.items()
    }
)
