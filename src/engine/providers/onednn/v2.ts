// oneDNN 2.x (Debian 12): memory descriptors and operation descriptors are structs of fixed size that the caller owns.
import type { Activation } from "../../provider.ts";
import { type Dialect, dimensions, type Matrix } from "./dialect.ts";
import { F32, type Native } from "./native.ts";

// sizeof(dnnl_memory_desc_t) and sizeof(dnnl_matmul_desc_t).
const MEMORY_DESCRIPTOR_BYTES = 696;
const MATMUL_DESCRIPTOR_BYTES = 2800;
const algorithm: Readonly<Record<Activation, number>> = { relu: 0x1f, tanh: 0x2f, sigmoid: 0xaf };

export function dialectV2(native: Native): Dialect {
  return {
    matrix(rows, columns, rowStride, columnStride) {
      const descriptor = new Uint8Array(MEMORY_DESCRIPTOR_BYTES);
      const types = ["void*", "int", "void*", "int", "void*"];
      const [dims, strides] = [dimensions(rows, columns), dimensions(rowStride, columnStride)];
      native.call("dnnl_memory_desc_init_by_strides", types, descriptor, 2, dims, F32, strides);
      return descriptor;
    },
    release() {},
    matmul(engine, a: Matrix, b: Matrix, bias: Matrix | null, c: Matrix, attributes) {
      const operation = new Uint8Array(MATMUL_DESCRIPTOR_BYTES);
      const types = ["void*", "void*", "void*", "void*", "void*"];
      native.call("dnnl_matmul_desc_init", types, operation, a, b, bias, c);
      return native.create(
        "dnnl_primitive_desc_create",
        ["void*", "void*", "void*", "void*"],
        ...[operation, attributes, engine, null],
      );
    },
    appendActivation: (postOps, activation) =>
      native.call(
        "dnnl_post_ops_append_eltwise",
        ["void*", "float", "int", "float", "float"],
        ...[postOps, 1, algorithm[activation], 0, 0],
      ),
    appendSum: (postOps) => native.call("dnnl_post_ops_append_sum", ["void*", "float"], postOps, 1),
  };
}
