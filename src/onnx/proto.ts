// The part of the ONNX format that a model of ours needs, written as protocol buffers; field numbers from onnx.proto3
// (github.com/onnx/onnx, Apache-2.0).
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** TensorProto.DataType. */
export const ElementType = { float: 1, int32: 6, int64: 7, bool: 9, float16: 10, uint32: 12, bfloat16: 16 } as const;
export type ElementType = (typeof ElementType)[keyof typeof ElementType];

export type Attribute = number | string | readonly number[] | { readonly float: number };

export interface Node {
  readonly type: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Numbers and lists are integers; `{ float }` is a float. */
  readonly attributes: Readonly<Record<string, Attribute>>;
}

export interface Initializer {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
  /** Little-endian elements. */
  readonly bytes: Uint8Array;
}

export interface ValueInfo {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
}

export interface Graph {
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly initializers: readonly Initializer[];
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
}

/** IR version 10 goes with operator sets up to 23. */
const IR_VERSION = 10;
export const OPERATOR_SET = 20;
const AttributeType = { float: 1, int: 2, string: 3, ints: 7 } as const;

/** A serialized ModelProto. */
export function encodeModel(graph: Graph, producer: { readonly name: string; readonly version: string }): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int64(IR_VERSION);
  writer.tag(2, WireType.LengthDelimited).string(producer.name);
  writer.tag(3, WireType.LengthDelimited).string(producer.version);
  message(writer, 7, (to) => encodeGraph(to, graph));
  message(writer, 8, (to) => void to.tag(2, WireType.Varint).int64(OPERATOR_SET));
  return writer.finish();
}

function message(writer: BinaryWriter, field: number, body: (writer: BinaryWriter) => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  body(writer);
  writer.join();
}

function encodeGraph(to: BinaryWriter, graph: Graph): void {
  for (const node of graph.nodes) message(to, 1, (writer) => encodeNode(writer, node));
  to.tag(2, WireType.LengthDelimited).string(graph.name);
  for (const tensor of graph.initializers) message(to, 5, (writer) => encodeTensor(writer, tensor));
  for (const value of graph.inputs) message(to, 11, (writer) => encodeValue(writer, value));
  for (const value of graph.outputs) message(to, 12, (writer) => encodeValue(writer, value));
}

function encodeNode(to: BinaryWriter, { type, name, inputs, outputs, attributes }: Node): void {
  for (const input of inputs) to.tag(1, WireType.LengthDelimited).string(input);
  for (const output of outputs) to.tag(2, WireType.LengthDelimited).string(output);
  to.tag(3, WireType.LengthDelimited).string(name);
  to.tag(4, WireType.LengthDelimited).string(type);
  for (const [key, value] of Object.entries(attributes))
    message(to, 5, (writer) => encodeAttribute(writer, key, value));
}

function encodeAttribute(to: BinaryWriter, name: string, value: Attribute): void {
  to.tag(1, WireType.LengthDelimited).string(name);
  const kind = (type: number): BinaryWriter => to.tag(20, WireType.Varint).int32(type);
  if (typeof value === "number") {
    to.tag(3, WireType.Varint).int64(value);
    kind(AttributeType.int);
  } else if (typeof value === "string") {
    to.tag(4, WireType.LengthDelimited).bytes(new TextEncoder().encode(value));
    kind(AttributeType.string);
  } else if ("float" in value) {
    to.tag(2, WireType.Bit32).float(value.float);
    kind(AttributeType.float);
  } else {
    for (const item of value) to.tag(8, WireType.Varint).int64(item);
    kind(AttributeType.ints);
  }
}

function encodeTensor(to: BinaryWriter, { name, type, shape, bytes }: Initializer): void {
  for (const extent of shape) to.tag(1, WireType.Varint).int64(extent);
  to.tag(2, WireType.Varint).int32(type);
  to.tag(8, WireType.LengthDelimited).string(name);
  to.tag(9, WireType.LengthDelimited).bytes(bytes);
}

/** ValueInfoProto: name, and a tensor type of fixed shape. */
function encodeValue(to: BinaryWriter, { name, type, shape }: ValueInfo): void {
  to.tag(1, WireType.LengthDelimited).string(name);
  message(to, 2, (typeProto) =>
    message(typeProto, 1, (tensor) => {
      tensor.tag(1, WireType.Varint).int32(type);
      message(tensor, 2, (dimensions) => {
        for (const extent of shape) {
          message(dimensions, 1, (dimension) => void dimension.tag(1, WireType.Varint).int64(extent));
        }
      });
    }),
  );
}
