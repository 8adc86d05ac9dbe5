// oneDNN 3.x (Debian 13, Ubuntu 24.04, Homebrew, conda): memory descriptors are handles, and one call makes a primitive
// descriptor.
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

const FORMAT_ANY = 1;
const USE_SCALE_AND_SHIFT = 2 | 4;
/** The sum has the type of the destination. */
const TYPE_OF_DESTINATION = 0;
const algorithm: Readonly<Record<Activation, number>> = { relu: 0x20, tanh: 0x21, sigmoid: 0x29 };

export function dialectV3(native: Native): Dialect {
  const make = (name: string, types: readonly string[], ...values: unknown[]): Handle =>
    native.create(`dnnl_${name}_primitive_desc_create`, types, ...values);

  const convolutionForward = (engine: Handle, op: Convolution, attributes: Handle | null): Handle =>
    make(
      ...(["convolution_forward", ["void*", "int", "int", ...pointers(9)], engine] as const),
      ...[
        Propagation.training,
        op.direction === "forward" ? op.algorithm : Algorithm.convolutionDirect,
        op.forward.x,
        op.forward.w,
        op.direction === "forward" ? op.bias : null,
      ],
      ...[op.y, ...[op.strides, op.gaps, op.before, op.after].map(dimensions), attributes],
    );
  const poolingForward = (engine: Handle, op: Pooling, attributes: Handle | null): Handle =>
    make(
      ...(["pooling_forward", ["void*", "int", "int", ...pointers(8)], engine] as const),
      ...[op.direction === "inference" ? Propagation.inference : Propagation.training, op.algorithm, op.x, op.y],
      ...[...[op.strides, op.kernel, op.gaps, op.before, op.after].map(dimensions), attributes],
    );
  const normalizationForward = (engine: Handle, op: Normalization, attributes: Handle | null): Handle =>
    make(
      `${op.axis}_normalization_forward`,
      ["void*", "int", ...pointers(op.axis === "layer" ? 3 : 2), "float", "uint", "void*"],
      ...[engine, Propagation.training, op.x, op.x, ...(op.axis === "layer" ? [op.statistics] : [])],
      ...[op.epsilon, USE_SCALE_AND_SHIFT, attributes],
    );

  return {
    memory(dims, type, strides) {
      const values = [dims.length, dimensions(dims), DataType[type]];
      const types = ["int", "void*", "int"];
      if (strides === "any") {
        return native.create("dnnl_memory_desc_create_with_tag", [...types, "int"], ...values, FORMAT_ANY);
      }
      return native.create("dnnl_memory_desc_create_with_strides", [...types, "void*"], ...values, dimensions(strides));
    },
    release: (descriptor) => native.call("dnnl_memory_desc_destroy", ["void*"], descriptor),
    matmul: (engine, a, b, bias, c, attributes) => make("matmul", pointers(6), engine, a, b, bias, c, attributes),
    convolution(engine, op, attributes) {
      if (op.direction === "forward") return convolutionForward(engine, op, attributes);
      const windows = [op.strides, op.gaps, op.before, op.after].map(dimensions);
      const operands = op.direction === "input" ? [op.x, op.w, op.y] : [op.x, op.w, op.bias, op.y];
      return hinted(native, convolutionForward(engine, op, null), (hint) =>
        make(
          `convolution_backward_${op.direction === "input" ? "data" : "weights"}`,
          ["void*", "int", ...pointers(operands.length + 6)],
          ...[engine, op.algorithm, ...operands, ...windows, hint, attributes],
        ),
      );
    },
    pooling(engine, op, attributes) {
      if (op.direction !== "input") return poolingForward(engine, op, attributes);
      return hinted(native, poolingForward(engine, op, null), (hint) =>
        make(
          ...(["pooling_backward", ["void*", "int", ...pointers(9)], engine, op.algorithm, op.x, op.y] as const),
          ...[...[op.strides, op.kernel, op.gaps, op.before, op.after].map(dimensions), hint, attributes],
        ),
      );
    },
    normalization(engine, op, attributes) {
      if (op.direction === "forward") return normalizationForward(engine, op, attributes);
      const statistics = op.axis === "layer" ? [op.statistics] : [];
      return hinted(native, normalizationForward(engine, op, null), (hint) =>
        make(
          `${op.axis}_normalization_backward`,
          ["void*", "int", ...pointers(3 + statistics.length), "float", "uint", "void*", "void*"],
          ...[engine, Propagation.backward, op.x, op.x, op.x, ...statistics],
          ...[op.epsilon, USE_SCALE_AND_SHIFT, hint, attributes],
        ),
      );
    },
    shiftsGradient: { layer: true, batch: false },
    appendActivation: (postOps, activation) =>
      native.call(
        "dnnl_post_ops_append_eltwise",
        ["void*", "int", "float", "float"],
        ...[postOps, algorithm[activation], 0, 0],
      ),
    appendSum: (postOps) =>
      native.call(
        "dnnl_post_ops_append_sum",
        ["void*", "float", "int32", "int"],
        ...[postOps, 1, 0, TYPE_OF_DESTINATION],
      ),
  };
}
