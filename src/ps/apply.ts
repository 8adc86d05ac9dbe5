// Calls that change a partition and need nobody else: they are applied at once, and again from a journal.
import { RpcError } from "../net/index.ts";
import { malformed } from "./body.ts";
import { decodePush } from "./messages.ts";
import { decodeRequest, encodeJson, type PsMethod, parse } from "./requests.ts";
import { decodeRows } from "./row-messages.ts";
import type { Scans } from "./scans.ts";
import type { PartitionState } from "./state.ts";
import { shrink } from "./upkeep.ts";

type Reply = readonly Uint8Array[];

/** @throws RpcError when the call is refused; it has then changed nothing */
export function applyCall(state: PartitionState, scans: Scans, method: PsMethod, body: Uint8Array): Reply {
  switch (method) {
    case "define":
      state.define(parse("define", body));
      return encodeJson({ definition: state.definition, steps: state.steps });
    case "push":
      state.push({ view: decodePush(body), body });
      return stepsReply(state);
    case "initialise":
      state.initialise({ view: decodePush(body), body });
      return [];
    case "putDense":
      return putDense(state, body);
    case "putRows": {
      const { partitions } = state.expectModel();
      scans.put(state.tables, decodeRows(body), { partition: state.partition, partitions });
      state.enforceLimit();
      return [];
    }
    case "setSteps":
      state.steps = decodeRequest("setSteps", body).steps;
      return [];
    case "scan":
      return encodeJson(scans.begin(state.tables, decodeRequest("scan", body)));
    case "shrink": {
      state.expectModel();
      const dropped = state.tables.reduce((sum, table) => sum + shrink(state.heap, state.scratch, table), 0);
      return encodeJson({ dropped, rows: state.tables.reduce((sum, table) => sum + table.rows, 0) });
    }
    default:
      throw new RpcError("unknown method", `a partition has no method "${method}" that changes it`);
  }
}

/** The optimizer steps done, as replies to pushes begin. */
export function stepsReply({ steps }: PartitionState): Reply {
  return [bytesOf(new BigUint64Array([BigInt(steps)]))];
}

/** The weights or a slot of the partition's piece of a parameter. */
export function denseReply(state: PartitionState, request: DenseColumn): Reply {
  return [bytesOf(columnOf(state, request).slice())];
}

interface DenseColumn {
  readonly dense: number;
  readonly slot?: number | undefined;
}

function columnOf({ dense: parts }: PartitionState, { dense, slot }: DenseColumn): Float32Array {
  const column = parts.get(dense)?.column(slot);
  if (column !== undefined) return column;
  throw new RpcError("malformed", `no piece of parameter ${dense} with slot ${slot ?? "none"} is here`);
}

function putDense(state: PartitionState, body: Uint8Array): Reply {
  const end = body.indexOf(0);
  if (end < 0) throw malformed("putDense: there is no NUL behind the request");
  const column = columnOf(state, decodeRequest("dense", body.subarray(0, end)));
  const start = Math.ceil((end + 1) / 8) * 8;
  if (body.byteLength - start !== column.byteLength) {
    throw malformed(`putDense: ${body.byteLength - start} bytes of values for ${column.length} numbers`);
  }
  column.set(new Float32Array(body.buffer, body.byteOffset + start, column.length));
  return [];
}

const bytesOf = (view: ArrayBufferView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
