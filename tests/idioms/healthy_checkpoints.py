"""Results that reach the loss by ways that a recording can lose: reentrant checkpoints and subclasses of Tensor."""

from functools import partial

import torch
import torch.nn.functional as F
from _parts import classifier, setup, table
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

# -------------------------------------------------------------------- reentrant checkpoints

again = partial(checkpoint, use_reentrant=True)


class Layers(nn.Module):
    """A first layer, two layers in between whose forward is given, and a head."""

    def __init__(self):
        super().__init__()
        self.inputs, self.first, self.second = nn.Linear(20, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.head = nn.Linear(32, 5)

    def middle(self, h):
        return F.relu(self.second(F.relu(self.first(h))))

    def between(self, h):
        return again(self.middle, h)

    def forward(self, x):
        return self.head(self.between(F.relu(self.inputs(x))))


def build_checkpoint_of_a_method():
    return classifier(Layers(), table())


def build_checkpoint_inside_a_checkpoint():
    class Nested(Layers):
        def between(self, h):
            return again(lambda h: F.relu(self.second(again(lambda g: F.relu(self.first(g)), h))), h)

    return classifier(Nested(), table())


def build_three_checkpoints_deep():
    class Deep(Layers):
        def between(self, h):
            inner = partial(again, self.first)
            return again(partial(again, lambda g: F.relu(self.second(F.relu(inner(g))))), h)

    return classifier(Deep(), table())


def build_checkpoint_of_a_partial():
    class Partial(Layers):
        def scaled(self, scale, h):
            return scale * self.middle(h)

        def between(self, h):
            return again(partial(self.scaled, 2.0), h)

    return classifier(Partial(), table())


def build_checkpoint_of_a_partial_with_keywords_and_a_layer():
    class Keywords(Layers):
        def between(self, h):
            def run(h, *, layer, slope):
                return F.leaky_relu(layer(h), slope)

            return again(partial(run, layer=self.second, slope=0.1), again(partial(run, layer=self.first, slope=0.2), h))

    return classifier(Keywords(), table())


def build_checkpoint_with_two_outputs():
    class Two(Layers):
        def pair(self, h):
            return torch.tanh(self.first(h)), torch.sigmoid(self.second(h))

        def between(self, h):
            values, gates = again(self.pair, h)
            return values * gates

    return classifier(Two(), table())


def build_checkpoint_with_an_output_that_only_the_caller_looks_at():
    class Weights(Layers):
        def attended(self, h):
            weights = (h @ self.first(h).transpose(-2, -1) / 6).softmax(-1)
            return weights @ self.second(h), weights, None, 3

        def between(self, h):
            out, self.last_weights, _, _ = again(self.attended, h.view(8, 8, 32))
            self.last_weights = self.last_weights.detach()
            return F.relu(out.reshape(64, 32))

    return classifier(Weights(), table())


def build_checkpoint_of_three_inputs():
    class Three(Layers):
        def mixed(self, h, scale, other):
            return F.relu(self.first(h) * scale + self.second(other))

        def between(self, h):
            return again(self.mixed, h, torch.full((32,), 0.5), h.flip(1))

    return classifier(Three(), table())


def build_checkpointed_blocks_in_a_loop():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs, self.head = nn.Linear(20, 32), nn.Linear(32, 5)
            self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.GELU()) for _ in range(4))

        def forward(self, x):
            h = self.inputs(x)
            for number, block in enumerate(self.blocks):
                h = h + (again(block, h) if number % 2 else block(h))
            return self.head(h)

    return classifier(Loop(), table())


def build_checkpointed_parts_of_a_sequence():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs, self.head = nn.Linear(20, 32), nn.Linear(32, 5)
            self.body = nn.Sequential(*(nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.ReLU()) for _ in range(6)))

        def forward(self, x):
            return self.head(checkpoint_sequential(self.body, 3, self.inputs(x), use_reentrant=True))

    return classifier(Parts(), table())


def build_checkpoint_around_an_autograd_function():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

    class Custom(Layers):
        def between(self, h):
            return again(lambda h: Double.apply(self.middle(h)), h)

    return classifier(Custom(), table())


def build_checkpoint_whose_result_is_written_into_a_buffer_of_outputs():
    class Written(Layers):
        def between(self, h):
            out = h.new_zeros(64, 32)
            out[:32] = again(self.middle, h[:32])
            out[32:] = again(self.middle, h[32:])
            return out

    return classifier(Written(), table())


# -------------------------------------------------------------------- subclasses of Tensor


class Tagged(torch.Tensor):
    """Nothing of its own: torch carries the class through every operation."""


class Noted(torch.Tensor):
    """Looks at every call and leaves it as it is."""

    calls = 0

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        cls.calls += 1
        return super().__torch_function__(function, types, args, kwargs or {})


class Plainly(torch.Tensor):
    """Runs every call on plain tensors and wraps the result again."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        def plain(value):
            if isinstance(value, (list, tuple)):
                return type(value)(map(plain, value))
            return value.as_subclass(torch.Tensor) if isinstance(value, cls) else value

        with torch._C.DisableTorchFunctionSubclass():
            result = function(*plain(args), **{name: plain(value) for name, value in (kwargs or {}).items()})
        return result.as_subclass(cls) if type(result) is torch.Tensor else result


class Wrapped(Layers):
    """The layers on a subclass that is put on after the first and taken off before the last, or not."""

    def __init__(self, kind, *, off=True):
        super().__init__()
        self.kind, self.off = kind, off

    def between(self, h):
        h = self.middle(h.as_subclass(self.kind))
        return h.as_subclass(torch.Tensor) if self.off else h


def build_subclass_put_on_and_taken_off():
    return classifier(Wrapped(Tagged), table())


def build_subclass_that_stays_on():
    return classifier(Wrapped(Tagged, off=False), table())


def build_subclass_that_looks_at_calls():
    return classifier(Wrapped(Noted), table())


def build_subclass_that_looks_at_calls_and_stays_on():
    return classifier(Wrapped(Noted, off=False), table())


def build_subclass_that_runs_calls_on_plain_tensors():
    return classifier(Wrapped(Plainly), table())


def build_subclass_that_runs_calls_on_plain_tensors_and_stays_on():
    return classifier(Wrapped(Plainly, off=False), table())


def build_batch_of_a_subclass():
    return classifier(Layers(), table().as_subclass(Tagged))


def build_parameters_of_a_subclass():
    class Weighted(Layers):
        def between(self, h):
            return F.relu(h @ self.first.weight.as_subclass(Tagged).t() + self.second(h))

    model = Weighted()
    model.first.bias = None
    return classifier(model, table())


def build_subclass_inside_a_reentrant_checkpoint():
    class Both(Layers):
        def between(self, h):
            return again(lambda h: self.middle(h.as_subclass(Noted)).as_subclass(torch.Tensor), h)

    return classifier(Both(), table())


def build_targets_and_loss_of_a_subclass():
    def loss(output, target):
        return F.mse_loss(output.as_subclass(Tagged), target).as_subclass(torch.Tensor)

    return setup(Layers(), table(), torch.randn(64, 5).as_subclass(Tagged), loss)
