"""What happens to an ONNX graph after its export: constants folded, guards removed, weights quantised."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def folded(proto: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The same graph with everything computed that depends on constants alone: texts become AVFE's queries, what no output
    needs is gone, and so are guards against NaN (`unguarded`) and factors of matrix products (`unscaled`).

    Standard operators only; done by onnxruntime, in files in `folder`.
    """
    import onnx
    import onnxruntime

    raw, done = folder / "raw.onnx", folder / "folded.onnx"
    onnx.save(proto, str(raw))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(done)
    onnxruntime.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])
    result = onnx.load(str(done))
    used = {node.domain for node in result.graph.node}
    kept = [opset for opset in result.opset_import if opset.domain in used]
    del result.opset_import[:]
    result.opset_import.extend(kept)
    return unscaled(unguarded(result))


def quantised(proto: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The same graph with the weights of its matrix products as 8-bit integers, one scale per output channel, and
    activations quantised as they come (onnxruntime's dynamic quantisation)."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = folder / "int8.onnx"
    with quiet():
        quantize_dynamic(
            proto,
            str(target),
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
    return onnx.load(str(target))


def unguarded(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph without Where(IsNaN(x), 0, x), changed in place.

    The exporter puts it behind every softmax under a mask, for rows that may read nothing. Here every token reads at least
    one other, and the guards are two passes over the largest tensors of the tower. (Of folded graphs: before, the pattern
    is not plain to see.)
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    replaced, dead = {}, []
    for node in proto.graph.node:
        test = makers.get(node.input[0]) if node.op_type == "Where" else None
        if test is not None and test.op_type == "IsNaN" and test.input[0] == node.input[2]:
            replaced[node.output[0]] = node.input[2]
            dead += [node, test]
    for node in dead:
        proto.graph.node.remove(node)
    for node in proto.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = replaced.get(name, name)
    return proto


def unscaled(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph whose Gemm nodes have the factors alpha and beta in their constant weights, changed in place.

    onnxruntime quantises no product with a factor of its own, and leaves it in fp32 without a word: the two largest ones of
    every layer, whose factors are QuickGELU's (`clip_impl.layers.MLP`).
    """
    from onnx import numpy_helper

    constants = {item.name: item for item in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type != "Gemm":
            continue
        for name, position in (("alpha", 1), ("beta", 2)):
            factor = next((item for item in node.attribute if item.name == name), None)
            if factor is None or factor.f == 1 or len(node.input) <= position or node.input[position] not in constants:
                continue
            values = numpy_helper.to_array(constants[node.input[position]])
            # A name of its own: another node may use the same constant without the factor.
            scaled = f"{node.output[0]}.{name}"
            proto.graph.initializer.append(numpy_helper.from_array((values * factor.f).astype(values.dtype), scaled))
            node.input[position] = scaled
            node.attribute.remove(factor)
    used = {name for node in proto.graph.node for name in node.input} | {item.name for item in proto.graph.output}
    kept = [item for item in proto.graph.initializer if item.name in used]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    return proto


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The exporter and the quantiser speak to the root logger and warn of their own internals."""
    before: Any = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
