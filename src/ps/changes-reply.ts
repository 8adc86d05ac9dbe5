// The answer to a worker that asks what others have changed (Geo-SGD).
import { RpcError } from "../net/index.ts";
import { wireBytes } from "./messages.ts";
import { type Changes, encodeChangesReply } from "./row-messages.ts";
import type { PartitionState } from "./state.ts";

/**
 * @param memory gives memory for the reply
 * @throws RpcError `refused` outside of mode `geo`, `malformed` for fields that there are not
 */
export function changesReply(
  state: PartitionState,
  request: Changes,
  memory: (bytes: number) => Uint8Array = (bytes) => new Uint8Array(bytes),
): Uint8Array[] {
  const { mode } = state.expectModel(request.definition);
  if (mode !== "geo") throw new RpcError("refused", `changes are kept in mode "geo", this is mode "${mode}"`);
  const { fields, wire, position, worker, maxRows } = request;
  const { heap, scratch } = state;
  const table = state.tables[request.table];
  const width = table?.widthOf(fields);
  if (table === undefined || width === undefined) {
    throw new RpcError("malformed", `changes: there is no table ${request.table} with fields ${fields}`);
  }
  try {
    const { keys, n, ...rest } = state.holdings.changes[request.table]!.since(position, worker, maxRows);
    const out = scratch.take(4 * n * width);
    table.pull({ fields, width, n, keys }, out, true);
    let values = out;
    if (wire !== "f32") {
      values = scratch.take(2 * n * width);
      state.converter.fromF32(wire, out, n * width, values);
    }
    const bytes = n * width * wireBytes[wire];
    const sent = memory(bytes);
    sent.set(heap.u8(values, bytes));
    return encodeChangesReply({ ...rest, width, keys: heap.u64(keys, n).slice(), values: sent });
  } finally {
    scratch.reset();
  }
}
