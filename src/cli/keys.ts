// `flotilla keys`: the certificates of a job.
import { type KeyInfo, makeKeys, rotateKeys, showKeys } from "../net/index.ts";
import { formatTable } from "../report/index.ts";

export interface KeysFlags {
  readonly hosts?: readonly string[];
  readonly days: number;
}

export interface RotateFlags extends KeysFlags {
  readonly dropOld?: boolean;
}

export interface ShowFlags {
  readonly json?: boolean;
}

const DAY_MS = 24 * 3600 * 1000;
/** A certificate that ends so soon is pointed out. */
const SOON_DAYS = 30;

export async function make(folder: string, flags: KeysFlags): Promise<number> {
  console.log(tableOf(await makeKeys({ folder, ...flags })));
  return 0;
}

export async function rotate(folder: string, { dropOld = false, ...flags }: RotateFlags): Promise<number> {
  console.log(tableOf(await rotateKeys({ folder, dropOld, ...flags })));
  return 0;
}

/** Returns 1 when a certificate is no longer valid. */
export async function show(folder: string, { json = false }: ShowFlags): Promise<number> {
  const keys = await showKeys(folder);
  console.log(json ? JSON.stringify(keys, null, 2) : tableOf(keys));
  return keys.some(({ to }) => to.getTime() < Date.now()) ? 1 : 0;
}

function tableOf(keys: readonly KeyInfo[]): string {
  const rows = keys.map(({ file, name, to, fingerprint }) => ({
    file,
    name,
    "valid until": `${to.toISOString().slice(0, 10)}${remark(to)}`,
    // The first 16 of 32 bytes tell any two apart; --json prints all.
    "SHA-256": fingerprint.slice(0, 47),
  }));
  const hosts = [...new Set(keys.flatMap((key) => key.hosts))];
  return `${formatTable(rows)}\nhosts: ${hosts.join(", ")}`;
}

function remark(to: Date): string {
  const days = Math.floor((to.getTime() - Date.now()) / DAY_MS);
  if (days < 0) return ", EXPIRED";
  return days < SOON_DAYS ? `, in ${days} days` : "";
}
