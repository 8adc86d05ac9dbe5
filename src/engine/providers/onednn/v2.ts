// oneDNN 2.x (Debian 12): memory descriptors and operation descriptors are structs of fixed size that the caller owns.
import type { Activation } from "../../provider.ts";
import {
  type Convolution,
  type Dialect,
  dimensions,
  hinted,
  type Normalization,
  type Pooling,
  pointers,
} from "./dialect.ts";
import { Algorithm, DataType, type Handle, type Native, Propagation } from "./native.ts";

/** sizeof(dnnl_memory_desc_t), and of the largest operation descriptor we use, dnnl_convolution_desc_t. */
const MEMORY_DESCRIPTOR_BYTES = 696;
const OPERATION_DESCRIPTOR_BYTES = 5976;
const FORMAT_ANY = 1;
const USE_SCALE_AND_SHIFT = 8 | 16;
const algorithm: Readonly<Record<Activation, number>> = { relu: 0x1f, tanh: 0x2f, sigmoid: 0xaf };

export function dialectV2(native: Native): Dialect {
  /** Calls the `_desc_init` of an operation and makes a primitive descriptor of it. */
  const make = (
    engine: Handle,
    attributes: Handle | null,
    hint: Handle | null,
    name: string,
    types: readonly string[],
    ...values: unknown[]
  ): Handle => {
    const operation = new Uint8Array(OPERATION_DESCRIPTOR_BYTES);
    native.call(`dnnl_${name}_desc_init`, ["void*", ...types], operation, ...values);
    return native.create(
      "dnnl_primitive_desc_create",
      ["void*", "void*", "void*", "void*"],
      ...[operation, attributes, engine, hint],
    );
  };

  const convolutionForward = (engine: Handle, op: Convolution, attributes: Handle | null): Handle =>
    make(
      ...([engine, attributes, null, "dilated_convolution_forward", ["int", "int", ...pointers(8)]] as const),
      ...[
        Propagation.training,
        op.direction === "forward" ? op.algorithm : Algorithm.convolutionDirect,
        op.forward.x,
        op.forward.w,
        op.direction === "forward" ? op.bias : null,
      ],
      ...[op.y, ...[op.strides, op.gaps, op.before, op.after].map(dimensions)],
    );
  const poolingForward = (engine: Handle, op: Pooling, attributes: Handle | null): Handle =>
    make(
      ...([engine, attributes, null, "pooling_v2_forward", ["int", "int", ...pointers(7)]] as const),
      ...[op.direction === "inference" ? Propagation.inference : Propagation.training, op.algorithm, op.x, op.y],
      ...[op.strides, op.kernel, op.gaps, op.before, op.after].map(dimensions),
    );
  const normalizationForward = (engine: Handle, op: Normalization, attributes: Handle | null): Handle =>
    make(
      ...([engine, attributes, null, `${op.axis}_normalization_forward`] as const),
      ["int", ...pointers(op.axis === "layer" ? 2 : 1), "float", "uint"],
      ...[Propagation.training, op.x, ...(op.axis === "layer" ? [op.statistics] : []), op.epsilon, USE_SCALE_AND_SHIFT],
    );

  return {
    memory(dims, type, strides) {
      const descriptor = new Uint8Array(MEMORY_DESCRIPTOR_BYTES);
      const values = [descriptor, dims.length, dimensions(dims), DataType[type]];
      const types = ["void*", "int", "void*", "int"];
      if (strides === "any") {
        native.call("dnnl_memory_desc_init_by_tag", [...types, "int"], ...values, FORMAT_ANY);
      } else {
        native.call("dnnl_memory_desc_init_by_strides", [...types, "void*"], ...values, dimensions(strides));
      }
      return descriptor;
    },
    release() {},
    matmul: (engine, a, b, bias, c, attributes) => make(engine, attributes, null, "matmul", pointers(4), a, b, bias, c),
    convolution(engine, op, attributes) {
      if (op.direction === "forward") return convolutionForward(engine, op, attributes);
      const windows = [op.strides, op.gaps, op.before, op.after].map(dimensions);
      const operands = op.direction === "input" ? [op.x, op.w, op.y] : [op.x, op.w, op.bias, op.y];
      return hinted(native, convolutionForward(engine, op, null), (hint) =>
        make(
          ...([engine, attributes, hint] as const),
          `dilated_convolution_backward_${op.direction === "input" ? "data" : "weights"}`,
          ["int", ...pointers(operands.length + 4)],
          ...[op.algorithm, ...operands, ...windows],
        ),
      );
    },
    pooling(engine, op, attributes) {
      if (op.direction !== "input") return poolingForward(engine, op, attributes);
      return hinted(native, poolingForward(engine, op, null), (hint) =>
        make(
          ...([engine, attributes, hint, "pooling_v2_backward", ["int", ...pointers(7)], op.algorithm] as const),
          ...[op.x, op.y, ...[op.strides, op.kernel, op.gaps, op.before, op.after].map(dimensions)],
        ),
      );
    },
    normalization(engine, op, attributes) {
      if (op.direction === "forward") return normalizationForward(engine, op, attributes);
      const statistics = op.axis === "layer" ? [op.statistics] : [];
      return hinted(native, normalizationForward(engine, op, null), (hint) =>
        make(
          ...([engine, attributes, hint, `${op.axis}_normalization_backward`] as const),
          ["int", ...pointers(2 + statistics.length), "float", "uint"],
          ...[Propagation.backward, op.x, op.x, ...statistics, op.epsilon, USE_SCALE_AND_SHIFT],
        ),
      );
    },
    shiftsGradient: { layer: true, batch: true },
    appendActivation: (postOps, activation) =>
      native.call(
        "dnnl_post_ops_append_eltwise",
        ["void*", "float", "int", "float", "float"],
        ...[postOps, 1, algorithm[activation], 0, 0],
      ),
    appendSum: (postOps) => native.call("dnnl_post_ops_append_sum", ["void*", "float"], postOps, 1),
  };
}
