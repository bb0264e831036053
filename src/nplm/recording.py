"""What torch computes in a function, written down as a graph of its operations.

``make_fx`` of torch.fx writes the same graph, but imports torch's compiler for one setting of it:
1.2 s of a process's start (torch 2.13).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, fx
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode


def record(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> fx.Graph:
    """Return the operations of ``function(*inputs)``, those of autograd included.

    Any other tensor that it computes with must come from an operation inside it.
    """
    recorder = _Recorder(inputs)
    with recorder:
        outputs = function(*inputs)
    recorder.graph.output(recorder.nodes_of(list(outputs)))
    return recorder.graph


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # its __init_subclass__
    """Adds each operation inside its block to ``graph``."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        # with each tensor itself: the id of one that is gone would soon mean another
        self._nodes: dict[int, tuple[Tensor, fx.Node]] = {}
        for number, tensor in enumerate(inputs):
            self._nodes[id(tensor)] = tensor, self.graph.placeholder(f"input_{number}")

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch asks when the class is made. By default its first operation imports the compiler,
        in order to be left out of what that compiles."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        node = self.graph.call_function(func, self.nodes_of(args), self.nodes_of(kwargs))
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self._nodes[id(result)] = result, node
        else:
            for number, part in enumerate(result):
                inner = self.graph.call_function(operator.getitem, (node, number))
                self._nodes[id(part)] = part, inner
        return result

    def nodes_of(self, values: Any) -> Any:
        """Return the values with each tensor replaced by the node that computes it."""

        def node_of(value: Any) -> Any:
            return self._nodes[id(value)][1] if isinstance(value, Tensor) else value

        return map_aggregate(values, node_of)
