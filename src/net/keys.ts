// The keys of a job: an authority, and a certificate for each role that it signs. Made, replaced and shown.
//
//   ca.pem      the authorities that are trusted: the present one, and after a rotation the one before
//   ca.key      the present authority's key and certificate; only needed to rotate, keep it off the other machines
//   ROLE.pem    key and certificate of a role, and after a rotation how the old authority vouches for the new one
//
// Each file is whole by itself and replaced at once, so that a process that reads them meanwhile finds nothing torn.
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, X509Certificate } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { isIP } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { canonicalHost } from "./address.ts";
import { type Issuer, makeCertificate } from "./certificate.ts";
import { keyFiles, splitPem } from "./credentials.ts";
import { ConnectionError } from "./error.ts";

/** Who the certificates are for. All hosts of a job stand in each. */
export const keyRoles = ["server", "worker"] as const;

export interface KeysOptions {
  readonly folder: string;
  /** Names and addresses under which processes are reached, beside `localhost`, 127.0.0.1, ::1 and the name of this machine. */
  readonly hosts?: readonly string[];
  /** For how long the certificates of the roles are valid. Default 365. */
  readonly days?: number;
}

/** What `showKeys` tells of one certificate. */
export interface KeyInfo {
  readonly file: string;
  /** As "server"; of an authority as "flotilla authority 3f9c…". */
  readonly name: string;
  readonly issuer: string;
  readonly hosts: readonly string[];
  readonly from: Date;
  readonly to: Date;
  /** SHA-256, as OpenSSL writes it. */
  readonly fingerprint: string;
}

const DAY_MS = 24 * 3600 * 1000;
const AUTHORITY_DAYS = 3650;
/** Clocks of machines differ: a new certificate is valid a little earlier. */
const SKEW_MS = 3600 * 1000;

interface Authority extends Issuer {
  readonly certificate: string;
}

/** @throws ConnectionError when the folder holds keys already or cannot be written */
export async function makeKeys({ folder, hosts = [], days = 365 }: KeysOptions): Promise<KeyInfo[]> {
  const all = allHosts(hosts);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const present = (await readdir(folder)).filter((name) => /\.(pem|key)$/.test(name));
  if (present.length > 0) {
    throw new ConnectionError(
      `${folder} holds keys (${present.join(", ")}); \`flotilla keys rotate\` replaces them, or choose another folder`,
    );
  }
  const authority = makeAuthority();
  await writeKeys(folder, { authority, trusted: [authority.certificate], chain: [], hosts: all, days });
  return await showKeys(folder);
}

export interface RotateOptions extends KeysOptions {
  /** Trusts the new authority alone, at once: for when a key has become known. Processes with old keys are then shut out. */
  readonly dropOld?: boolean;
}

/**
 * A new authority and new certificates. The old authority stays trusted until the next rotation, and vouches for the new
 * one, so that processes and machines may take up the new files in any order.
 * @param options hosts default to those of the present certificates
 * @throws ConnectionError when the folder does not hold complete keys or cannot be written
 */
export async function rotateKeys({ folder, hosts, days = 365, dropOld = false }: RotateOptions): Promise<KeyInfo[]> {
  const old = await readAuthority(folder);
  const authority = makeAuthority();
  const present = await showKeys(folder);
  const known = hosts ?? present.find(({ file }) => file === keyFiles.role("server"))?.hosts ?? [];
  const cross = makeCertificate({
    name: authority.name,
    publicKey: new X509Certificate(authority.certificate).publicKey,
    issuer: old,
    ...validity(AUTHORITY_DAYS, new X509Certificate(old.certificate)),
  });
  await writeKeys(folder, {
    authority,
    trusted: dropOld ? [authority.certificate] : [authority.certificate, old.certificate],
    chain: dropOld ? [] : [cross],
    hosts: allHosts(known),
    days,
  });
  return await showKeys(folder);
}

/** All certificates of a folder, the authorities first. @throws ConnectionError when there are none or one is damaged */
export async function showKeys(folder: string): Promise<KeyInfo[]> {
  const names = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
    throw new ConnectionError(`${folder}: cannot be read: ${cause.code}`, { cause });
  });
  const files = names.filter((name) => name.endsWith(".pem")).toSorted();
  if (!files.includes(keyFiles.authority)) {
    throw new ConnectionError(`${folder} holds no keys; \`flotilla keys make\` makes some`);
  }
  const ordered = [keyFiles.authority, ...files.filter((name) => name !== keyFiles.authority)];
  const infos = await Promise.all(ordered.map((name) => infosOf(folder, name)));
  return infos.flat();
}

function makeAuthority(): Authority {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const issuer = { name: `flotilla authority ${randomBytes(4).toString("hex")}`, key: privateKey };
  return { ...issuer, certificate: makeCertificate({ ...issuer, publicKey, issuer, ...validity(AUTHORITY_DAYS) }) };
}

/** No longer than the certificate of who vouches. */
function validity(days: number, within?: X509Certificate): { notBefore: Date; notAfter: Date } {
  const end = Date.now() + days * DAY_MS;
  const last = within === undefined ? end : new Date(within.validTo).getTime();
  return { notBefore: new Date(Date.now() - SKEW_MS), notAfter: new Date(Math.min(end, last)) };
}

interface Contents {
  readonly authority: Authority;
  readonly trusted: readonly string[];
  readonly chain: readonly string[];
  readonly hosts: readonly string[];
  readonly days: number;
}

/** In the order in which they come into use: a certificate is never there before its authority is trusted. */
async function writeKeys(folder: string, { authority, trusted, chain, hosts, days }: Contents): Promise<void> {
  if (!(days > 0)) throw new ConnectionError(`days is ${days}; certificates must be valid for some time`);
  await writePrivate(join(folder, keyFiles.authority), trusted.join(""));
  await writePrivate(join(folder, keyFiles.authorityKey), pemOf(authority.key) + authority.certificate);
  for (const role of keyRoles) {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const within = new X509Certificate(authority.certificate);
    const certificate = makeCertificate({ name: role, publicKey, issuer: authority, hosts, ...validity(days, within) });
    await writePrivate(join(folder, keyFiles.role(role)), [pemOf(privateKey), certificate, ...chain].join(""));
  }
}

const pemOf = (key: KeyObject): string => key.export({ type: "pkcs8", format: "pem" }) as string;

function allHosts(hosts: readonly string[]): string[] {
  const wrong = hosts.find((host) => isIP(host) === 0 && !/^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/.test(host));
  if (wrong !== undefined) {
    throw new ConnectionError(`host ${JSON.stringify(wrong)} is no name of a machine and no IP address`);
  }
  return [...new Set(["localhost", "127.0.0.1", "::1", hostname(), ...hosts].map(canonicalHost))];
}

async function readAuthority(folder: string): Promise<Authority> {
  const path = join(folder, keyFiles.authorityKey);
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new ConnectionError(`${path}: cannot be read: ${cause.code}; rotate where \`flotilla keys make\` ran`, {
      cause,
    });
  });
  const [certificate] = splitPem(text);
  if (certificate === undefined) throw new ConnectionError(`${path}: holds no certificate`);
  try {
    const { name } = infoOf(path, certificate);
    return { name, key: createPrivateKey(text), certificate };
  } catch (cause) {
    throw new ConnectionError(`${path}: holds no key: ${(cause as Error).message}`, { cause });
  }
}

async function infosOf(folder: string, file: string): Promise<KeyInfo[]> {
  const path = join(folder, file);
  const certificates = splitPem(await readFile(path, "utf8"));
  // Of a role only its own: what follows are authorities.
  const own = file === keyFiles.authority ? certificates : certificates.slice(0, 1);
  try {
    return own.map((certificate) => infoOf(file, certificate));
  } catch (cause) {
    throw new ConnectionError(`${path}: holds a damaged certificate: ${(cause as Error).message}`, { cause });
  }
}

function infoOf(file: string, pem: string): KeyInfo {
  const certificate = new X509Certificate(pem);
  const commonName = (text: string): string => /(?:^|\n)CN=([^\n]*)/.exec(text)?.[1] ?? text;
  return {
    file,
    name: commonName(certificate.subject),
    issuer: commonName(certificate.issuer),
    hosts: (certificate.subjectAltName ?? "")
      .split(", ")
      .filter((entry) => entry !== "")
      .map((entry) => canonicalHost(entry.replace(/^(DNS|IP Address):/, ""))),
    from: new Date(certificate.validFrom),
    to: new Date(certificate.validTo),
    fingerprint: certificate.fingerprint256,
  };
}

/** Readable by its owner alone; whole or not there, also after a power failure. */
async function writePrivate(path: string, text: string): Promise<void> {
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    await rm(temporary, { force: true });
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    const folder = await open(join(path, ".."), "r");
    await folder.sync().finally(() => folder.close());
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new ConnectionError(`${path}: cannot be written: ${(cause as NodeJS.ErrnoException).code}`, { cause });
  }
}
