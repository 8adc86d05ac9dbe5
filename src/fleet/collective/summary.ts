// What a run says of its communication when it is over.
import { formatBytes, formatSeconds } from "../../report/index.ts";
import type { Totals } from "./timeline.ts";

/** Of this rank. */
export interface CommunicationSummary {
  /** What the collectives took. */
  readonly seconds: number;
  /** How long the trainer thread waited for them. */
  readonly waited: number;
  /** The share of their time that this hid: 1 where it never waited. */
  readonly hidden: number;
  /** Bytes that the rank has sent in the collectives of its program, and what whole f32 gradients in each step would have been. */
  readonly sentBytes: number;
  readonly denseBytes: number;
}

/** Undefined where there was none. @param denseBytes of all steps */
export function communicationOf({ wire, wait, sent }: Totals, denseBytes: number): CommunicationSummary | undefined {
  if (wire === 0) return undefined;
  const hidden = Math.max(0, 1 - wait / wire);
  return { seconds: wire / 1000, waited: wait / 1000, hidden, sentBytes: sent, denseBytes };
}

/** "communication 3.2 s, of which computation hid 87 %; a rank sent 1.2 GB". */
export function describeCommunication({ seconds, hidden, sentBytes, denseBytes }: CommunicationSummary): string {
  const rest = sentBytes < 0.99 * denseBytes ? ` instead of ${formatBytes(denseBytes)}` : "";
  return `communication ${formatSeconds(seconds)}, of which computation hid ${Math.round(100 * hidden)} %; a rank sent ${formatBytes(sentBytes)}${rest}`;
}
