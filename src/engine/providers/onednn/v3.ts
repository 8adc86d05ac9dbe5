// oneDNN 3.x (Debian 13, Ubuntu 24.04, Homebrew, conda): memory descriptors are handles, and one call makes the primitive
// descriptor of a matmul.
import type { Activation } from "../../provider.ts";
import { type Dialect, dimensions } from "./dialect.ts";
import { F32, type Native } from "./native.ts";

const algorithm: Readonly<Record<Activation, number>> = { relu: 0x20, tanh: 0x21, sigmoid: 0x29 };

export function dialectV3(native: Native): Dialect {
  return {
    matrix: (rows, columns, rowStride, columnStride) =>
      native.create(
        "dnnl_memory_desc_create_with_strides",
        ["int", "void*", "int", "void*"],
        ...[2, dimensions(rows, columns), F32, dimensions(rowStride, columnStride)],
      ),
    release: (matrix) => native.call("dnnl_memory_desc_destroy", ["void*"], matrix),
    matmul: (engine, a, b, bias, c, attributes) =>
      native.create(
        "dnnl_matmul_primitive_desc_create",
        ["void*", "void*", "void*", "void*", "void*", "void*"],
        ...[engine, a, b, bias, c, attributes],
      ),
    appendActivation: (postOps, activation) =>
      native.call(
        "dnnl_post_ops_append_eltwise",
        ["void*", "int", "float", "float"],
        ...[postOps, algorithm[activation], 0, 0],
      ),
    appendSum: (postOps) =>
      native.call("dnnl_post_ops_append_sum", ["void*", "float", "int32", "int"], postOps, 1, 0, F32),
  };
}
