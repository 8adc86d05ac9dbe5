// Slurm's lists of nodes: "n[1-3,07],login,rack[1-2]-n[1-4]" → the names, in order.
import { ClusterError } from "./error.ts";

/** More nodes than any cluster has: a list that expands further is a mistake. */
const MAX_NODES = 100_000;

/** @throws ClusterError that quotes the list */
export function expandNodeList(list: string): string[] {
  const fail = (reason: string): ClusterError => new ClusterError(`node list ${JSON.stringify(list)}: ${reason}`);
  const nodes: string[] = [];
  for (const item of splitOutside(list, fail)) {
    if (!/^[\w.[\],-]+$/.test(item)) throw fail(`${JSON.stringify(item)} is no name of nodes`);
    for (const name of expandItem(item, fail, MAX_NODES - nodes.length)) nodes.push(name);
  }
  return nodes;
}

/** Cuts at commas that stand outside of brackets. */
function splitOutside(list: string, fail: (reason: string) => ClusterError): string[] {
  const items: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i <= list.length; i++) {
    const character = list[i];
    if (character === "[") depth++;
    if (character === "]") depth--;
    if (depth < 0 || depth > 1 || (character === undefined && depth !== 0)) throw fail("brackets do not match");
    if (depth > 0 || (character !== "," && character !== undefined)) continue;
    items.push(list.slice(start, i));
    start = i + 1;
  }
  return items;
}

/** All names of a pattern; with several brackets the last one varies fastest. */
function expandItem(item: string, fail: (reason: string) => ClusterError, room: number): string[] {
  const open = item.indexOf("[");
  if (open < 0) {
    if (room < 1) throw fail(`more than ${MAX_NODES} nodes`);
    return [item];
  }
  const close = item.indexOf("]", open);
  const tails = expandItem(item.slice(close + 1) || "", fail, room);
  const names: string[] = [];
  for (const number of expandRanges(item.slice(open + 1, close), fail, room)) {
    if (names.length + tails.length > room) throw fail(`more than ${MAX_NODES} nodes`);
    for (const tail of tails) names.push(item.slice(0, open) + number + tail);
  }
  return names;
}

function expandRanges(ranges: string, fail: (reason: string) => ClusterError, room: number): string[] {
  const numbers: string[] = [];
  for (const range of ranges.split(",")) {
    const [, first, last = first] = /^(\d{1,15})(?:-(\d{1,15}))?$/.exec(range) ?? [];
    if (first === undefined) throw fail(`${JSON.stringify(range)} is no number or range`);
    const [from, to] = [Number(first), Number(last)];
    if (to < from) throw fail(`the range ${range} runs backwards`);
    if (numbers.length + (to - from + 1) > room) throw fail(`more than ${MAX_NODES} nodes`);
    for (let i = from; i <= to; i++) numbers.push(String(i).padStart(first.length, "0"));
  }
  return numbers;
}
