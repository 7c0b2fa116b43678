"""Passes over small graphs that are written out here: the same results, in the form that the next step needs."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("onnx_extra")


def product(random, alpha, beta):
    """Two Gemm nodes over the same weight; the first has factors, the second none."""
    from onnx import TensorProto, helper, numpy_helper

    weight = random.standard_normal((8, 6)).astype(np.float32)
    bias = random.standard_normal(6).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "weight", "bias"], ["scaled"], alpha=alpha, beta=beta),
        helper.make_node("Gemm", ["x", "weight", "bias"], ["plain"]),
        helper.make_node("Add", ["scaled", "plain"], ["sum"]),
    ]
    graph = helper.make_graph(
        nodes,
        "two products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["n", 6])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(proto, x):
    from onnxruntime import InferenceSession

    return InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize(("alpha", "beta"), [(1.702, 1.702), (0.5, 1.0), (1.0, 3.0)])
def test_factors_go_into_the_constants_that_only_they_use(alpha, beta):
    from focuscli.tools.export.passes import unscaled

    random = np.random.default_rng(0)
    proto, x = product(random, alpha, beta), random.standard_normal((5, 8)).astype(np.float32)
    before = run(proto, x)
    after = unscaled(proto)
    np.testing.assert_allclose(run(after, x), before, rtol=1e-5, atol=1e-5)
    assert all(item.f == 1 for node in after.graph.node for item in node.attribute if item.name in ("alpha", "beta"))


def test_every_product_with_a_weight_is_quantised(tmp_path):
    from focuscli.tools.export.passes import quantised, unscaled

    random = np.random.default_rng(1)
    proto, x = product(random, 1.702, 1.702), random.standard_normal((5, 8)).astype(np.float32)
    exact = run(proto, x)
    after = quantised(unscaled(proto), tmp_path)
    kinds = [node.op_type for node in after.graph.node]
    assert (kinds.count("MatMulInteger"), kinds.count("Gemm"), kinds.count("MatMul")) == (2, 0, 0)
    assert np.abs(run(after, x) - exact).max() < 0.05 * np.abs(exact).max()
