// What `flotilla status` shows of a job: processes as the launcher sees them, with what they report themselves.
import type { Coordinator, MemberInfo, Report, Role } from "../cluster/index.ts";
import type { JobControl, Phase, ProcessState } from "./job-control.ts";

/** `starting`: runs and has not joined, as scripts that use no fleet never do. `silent`: runs, and is not heard of. */
export type StatusState = ProcessState | "starting" | "silent";

export interface ProcessStatus {
  readonly role: Role;
  readonly rank: number;
  readonly host: string;
  readonly pid: number | null;
  readonly state: StatusState;
  readonly attempt: number;
  /** Since when the process runs or has ended, ISO 8601. */
  readonly since: string;
  /** How many steps it is behind the first of its role; null without steps. */
  readonly lag: number | null;
  /** Seconds since its step last rose; null without steps. */
  readonly idleSeconds: number | null;
  readonly report: Report;
}

export interface JobStatus {
  readonly job: string;
  readonly script: string;
  readonly started: string;
  readonly phase: Phase;
  readonly processes: readonly ProcessStatus[];
}

export interface StatusSource {
  readonly job: string;
  readonly script: string;
  readonly started: Date;
  readonly control: JobControl;
  readonly coordinator: Coordinator;
}

export function statusOf({ job, script, started, control, coordinator }: StatusSource): JobStatus {
  const members = new Map(coordinator.members().map((member) => [`${member.role} ${member.rank}`, member]));
  const first: Record<Role, number> = { worker: 0, server: 0 };
  for (const { role, report } of members.values()) first[role] = Math.max(first[role], report.step ?? 0);
  const processes = control.processes().map((record): ProcessStatus => {
    const { role, rank, host, pid, attempt, since } = record;
    const known = members.get(`${role} ${rank}`);
    const member = known?.attempt === attempt ? known : undefined;
    const step = member?.report.step;
    return {
      ...{ role, rank, host, pid: pid ?? null, attempt },
      state: stateOf(record.state, member),
      since: new Date(since).toISOString(),
      lag: step === undefined ? null : first[role] - step,
      idleSeconds: member?.idleMs === undefined ? null : member.idleMs / 1000,
      report: member?.report ?? {},
    };
  });
  return { job, script, started: started.toISOString(), phase: control.phase, processes };
}

function stateOf(state: ProcessState, member: MemberInfo | undefined): StatusState {
  if (state !== "running") return state;
  if (member === undefined) return "starting";
  return member.state === "dead" ? "silent" : "running";
}
