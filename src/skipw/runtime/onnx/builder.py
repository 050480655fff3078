"""A graph put together node by node: constants, nodes, branches, the finished model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["OPSET", "Builder", "Declared"]

OPSET = 20
IR_VERSION = 9
Declared = tuple[str, type, tuple[int, ...], str]
"""An input or output of a graph: its name, its numpy type, its shape, what it is."""


class Builder:
    """Collects a graph. Values are names; constants that nothing reads are left out.

    Args:
        parent: the graph around this one, for a branch of an ``If``: it sees the parent's values, and its
            constants are stored there.
    """

    def __init__(self, parent: Builder | None = None) -> None:
        self._nodes: list[Any] = []
        self._root: Builder = self if parent is None else parent._root
        self._constants: list[Any] = []
        self._count = 0

    def constant(self, value: npt.ArrayLike, dtype: type) -> str:
        """The name of a constant of this value and type."""
        from onnx import numpy_helper

        name = self._fresh("constant")
        self._root._constants.append(numpy_helper.from_array(np.array(value, dtype=dtype, order="C"), name))
        return name

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; the name of its output, or a list of them if there are several."""
        from onnx import helper

        names = [self._fresh(operator.lower()) for _ in range(outputs)]
        self._nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def choose(
        self, condition: str, then: tuple[Builder, list[str]], other: tuple[Builder, list[str]]
    ) -> Any:
        """The results of one of two branches, of which the other is not computed."""
        branches = [
            builder._as_branch(name, results)
            for name, (builder, results) in (("then", then), ("else", other))
        ]
        return self.node(
            "If", condition, outputs=len(then[1]), then_branch=branches[0], else_branch=branches[1]
        )

    def model(
        self,
        name: str,
        inputs: Sequence[Declared],
        outputs: Mapping[Declared, str],
        facts: Mapping[str, str],
        text: str,
    ) -> bytes:
        """The checked model, serialised.

        Args:
            name: of the graph.
            inputs: in the order in which they are listed.
            outputs: what is declared, and the value that it takes.
            facts: the model's metadata.
            text: what the graph does, for people.
        """
        import onnx
        from onnx import helper

        nodes = list(self._nodes)
        for (label, *_), value in outputs.items():
            nodes.append(helper.make_node("Identity", [value], [label]))
        graph = helper.make_graph(
            nodes, name, [_declared(one) for one in inputs], [_declared(one) for one in outputs],
            [], doc_string=text,
        )  # fmt: skip
        read = _names_read(graph)
        graph.initializer.extend(one for one in self._constants if one.name in read)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="skipw")
        helper.set_model_props(model, dict(facts))
        onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _as_branch(self, name: str, results: Sequence[str]) -> Any:
        from onnx import helper

        labels = [self._fresh(name) for _ in results]
        ends = [
            helper.make_node("Identity", [value], [label])
            for value, label in zip(results, labels, strict=True)
        ]
        outputs = [helper.make_empty_tensor_value_info(label) for label in labels]
        return helper.make_graph([*self._nodes, *ends], name, [], outputs)

    def _fresh(self, word: str) -> str:
        self._root._count += 1
        return f"{word}_{self._root._count}"


def _names_read(graph: Any) -> set[str]:
    """Every value that a node of the graph or of its branches takes."""
    names: set[str] = set()
    for node in graph.node:
        names.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                names |= _names_read(attribute.g)
    return names


def _declared(one: Declared) -> Any:
    from onnx import helper

    name, dtype, shape, text = one
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, shape, doc_string=text)
