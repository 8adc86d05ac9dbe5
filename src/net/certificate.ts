// Certificates (RFC 5280) with keys on the curve P-256: of an authority, and of a process, for both ends of TLS.
// Only this is written here; reading and checking certificates is left to OpenSSL, in Node.
import { createHash, createPublicKey, type KeyObject, randomBytes, sign, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { canonicalHost } from "./address.ts";
import {
  bitString,
  boolean,
  explicit,
  implicit,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  set,
  time,
  utf8String,
} from "./der.ts";

const ids = {
  commonName: "2.5.4.3",
  subjectKey: "2.5.29.14",
  keyUsage: "2.5.29.15",
  alternativeNames: "2.5.29.17",
  constraints: "2.5.29.19",
  authorityKey: "2.5.29.35",
  extendedUsage: "2.5.29.37",
  serverAuthentication: "1.3.6.1.5.5.7.3.1",
  clientAuthentication: "1.3.6.1.5.5.7.3.2",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
} as const;

export interface Issuer {
  readonly name: string;
  readonly key: KeyObject;
}

export interface CertificateSpec {
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly issuer: Issuer;
  readonly notBefore: Date;
  /** Its time in UTC, to the second. */
  readonly notAfter: Date;
  /** Names and IP addresses of a process; an authority has none. */
  readonly hosts?: readonly string[];
}

/** A certificate as PEM. Without `hosts` it is that of an authority, which may vouch for one authority below it. */
export function makeCertificate(spec: CertificateSpec): string {
  const algorithm = sequence(objectIdentifier(ids.ecdsaWithSha256));
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))),
    // Positive, and random, so that no two certificates of an authority have the same.
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithm,
    nameOf(spec.issuer.name),
    sequence(time(spec.notBefore), time(spec.notAfter)),
    nameOf(spec.name),
    spec.publicKey.export({ type: "spki", format: "der" }),
    explicit(3, sequence(...extensions(spec))),
  );
  const der = sequence(body, algorithm, bitString(sign("sha256", body, spec.issuer.key)));
  return new X509Certificate(der).toString();
}

function extensions({ publicKey, issuer, hosts }: CertificateSpec): Buffer[] {
  const identifiers = [
    extension(ids.subjectKey, octetString(keyIdentifier(publicKey))),
    extension(ids.authorityKey, sequence(implicit(0, keyIdentifier(createPublicKey(issuer.key))))),
  ];
  if (hosts === undefined) {
    return [
      extension(ids.constraints, sequence(boolean(true), integer(Buffer.from([1]))), true),
      // keyCertSign and cRLSign, bits 5 and 6.
      extension(ids.keyUsage, bitString(Buffer.from([0b0000_0110]), 1), true),
      ...identifiers,
    ];
  }
  const usages = [ids.serverAuthentication, ids.clientAuthentication].map(objectIdentifier);
  return [
    extension(ids.constraints, sequence(), true),
    // digitalSignature, bit 0.
    extension(ids.keyUsage, bitString(Buffer.from([0b1000_0000]), 7), true),
    extension(ids.extendedUsage, sequence(...usages)),
    extension(ids.alternativeNames, sequence(...hosts.map(alternativeName))),
    ...identifiers,
  ];
}

function extension(id: string, value: Uint8Array, critical = false): Buffer {
  return sequence(objectIdentifier(id), ...(critical ? [boolean(true)] : []), octetString(value));
}

const nameOf = (commonName: string): Buffer =>
  sequence(set(sequence(objectIdentifier(ids.commonName), utf8String(commonName))));

const alternativeName = (host: string): Buffer =>
  isIP(host) === 0 ? implicit(2, Buffer.from(host, "latin1")) : implicit(7, ipBytes(host));

function ipBytes(host: string): Buffer {
  if (isIP(host) === 4) return Buffer.from(host.split(".").map(Number));
  // Its shortest form has groups of hexadecimal digits alone, also where the address ends like one of IPv4.
  const [head, tail] = canonicalHost(host).split("::") as [string, string | undefined];
  const groups = (text: string): string[] => (text === "" ? [] : text.split(":"));
  const [before, after] = [groups(head), groups(tail ?? "")];
  const zeros = new Array<string>(8 - before.length - after.length).fill("0");
  return Buffer.concat(
    [...before, ...zeros, ...after].map((group) => {
      const value = Number.parseInt(group, 16);
      return Buffer.from([value >> 8, value & 0xff]);
    }),
  );
}

/** RFC 7093, method 1: the first 160 bits of the SHA-256 of the public key. */
function keyIdentifier(key: KeyObject): Buffer {
  const point = key.export({ type: "spki", format: "der" }).subarray(-65);
  return createHash("sha256").update(point).digest().subarray(0, 20);
}
