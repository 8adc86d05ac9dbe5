// The heads of the coordinator's calls and replies, with the limits that untrusted ones must keep.
import { z } from "zod";

/** A call that waits is answered after so long at the latest, with what is still missing, and is made again. */
export const HOLD_MS = 2000;
/** Of a key, a barrier's name, a text in a report. */
const name = z.string().min(1).max(1024);
const role = z.enum(["worker", "server"]);
const rank = z.int().min(0).max(1_000_000);
const hold = { holdMs: z.number().min(0).max(HOLD_MS) };

const report = z
  .record(z.string().max(64), z.union([z.number(), z.string().max(1024)]))
  .refine((values) => Object.keys(values).length <= 64, "a report has at most 64 values");

const memberInfo = z.object({
  role,
  rank,
  addresses: z.array(z.string()),
  attempt: z.int(),
  host: z.string(),
  pid: z.int(),
  state: z.enum(["alive", "left", "dead"]),
  since: z.number(),
  reason: z.string().exactOptional(),
  report,
  idleMs: z.number().exactOptional(),
});
const members = z.object({ members: z.array(memberInfo) });
const event = z.object({ kind: z.enum(["joined", "left", "died", "stalled"]), member: memberInfo, text: z.string() });
const unit = z.object({ index: z.int(), item: z.string(), noted: z.string().exactOptional() });
/** What is still missing, of a call that waits. */
const pending = z.object({ missing: z.string() });
const nothing = z.object({});

/** Of each method the head of the call and the head of the reply. */
export const methods = {
  join: {
    call: z.object({
      role,
      rank,
      attempt: z.int().min(0),
      addresses: z.array(z.string().max(1024)).max(65_536),
      host: z.string().max(256),
      pid: z.int().min(0),
    }),
    reply: nothing,
  },
  leave: { call: nothing, reply: nothing },
  list: { call: nothing, reply: members },
  members: {
    call: z.object({ role, count: z.int().min(0).max(1_000_000), ...hold }),
    reply: z.union([members, pending]),
  },
  events: {
    /** −1: none yet, only the number of the next one. */
    call: z.object({ since: z.int().min(-1), ...hold }),
    reply: z.object({ next: z.int(), events: z.array(event) }),
  },
  arrive: {
    call: z.object({ name, count: z.int().min(1).max(1_000_000) }),
    reply: z.object({ generation: z.int() }),
  },
  wait: {
    call: z.object({ name, generation: z.int().min(0), failOnDeath: z.boolean(), ...hold }),
    reply: z.union([z.object({ passed: z.literal(true) }), pending]),
  },
  withdraw: { call: z.object({ name, generation: z.int().min(0) }), reply: nothing },
  set: { call: z.object({ key: name, ifAbsent: z.boolean() }), reply: z.object({ written: z.boolean() }) },
  get: { call: z.object({ key: name, ...hold }), reply: z.union([z.object({ found: z.literal(true) }), pending]) },
  peek: { call: z.object({ key: name }), reply: z.object({ found: z.boolean() }) },
  delete: { call: z.object({ key: name }), reply: nothing },
  open: {
    call: z.object({ key: name, items: z.array(z.string().max(65_536)).max(10_000_000) }),
    reply: nothing,
  },
  next: {
    call: z.object({ key: name, ...hold }),
    reply: z.union([unit, z.object({ finished: z.literal(true) }), pending]),
  },
  done: { call: z.object({ key: name, index: z.int().min(0) }), reply: nothing },
  note: { call: z.object({ key: name, index: z.int().min(0), note: z.string().max(65_536) }), reply: nothing },
  report: { call: report, reply: nothing },
} as const;

export type MethodName = keyof typeof methods;
export type CallHead<M extends MethodName> = z.input<(typeof methods)[M]["call"]>;
export type ReplyHead<M extends MethodName> = z.output<(typeof methods)[M]["reply"]>;
/** Those that wait: they say for how long, and may answer what is missing. */
export type WaitingMethod = "members" | "wait" | "get" | "next";
