// Addresses of ranks as the system takes them, and listening on one.
import { isIPv4, isIPv6 } from "node:net";
import { type Address, formatAddress, parseAddress } from "../../net/index.ts";
import { AF, libc } from "./libc.ts";

const BACKLOG = 512;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;

/**
 * @param trusted whether plain tcp may leave this machine: the network is closed to others, as in a cluster
 * @throws that names the address
 */
export function rankAddress(text: string, trusted: boolean): Address {
  if (!trusted || !text.startsWith("tcp://")) return parseAddress(text);
  return { ...parseAddress(text.replace(/^tcp:/, "tls:")), protocol: "tcp" } as Address;
}

/** `sockaddr_un`, `sockaddr_in` or `sockaddr_in6`. @throws where the host is a name: resolve it first */
export function systemAddress(address: Address): { family: number; bytes: Uint8Array } {
  if (address.protocol === "unix") {
    const path = Buffer.from(address.path);
    const bytes = new Uint8Array(2 + path.length + 1);
    new DataView(bytes.buffer).setUint16(0, AF.unix, true);
    bytes.set(path, 2);
    return { family: AF.unix, bytes };
  }
  const host = address.host === "localhost" ? "127.0.0.1" : address.host;
  if (isIPv4(host)) {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, AF.inet, true);
    view.setUint16(2, address.port);
    bytes.set(host.split(".").map(Number), 4);
    return { family: AF.inet, bytes };
  }
  if (!isIPv6(host))
    throw new Error(`${formatAddress(address)}: give the host's IP address; names are not looked up here`);
  const bytes = new Uint8Array(28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF.inet6, true);
  view.setUint16(2, address.port);
  for (const [i, word] of ipv6Words(host).entries()) view.setUint16(8 + 2 * i, word);
  return { family: AF.inet6, bytes };
}

/** The eight words of an address, of which one run of zeros may be written `::`. */
function ipv6Words(host: string): number[] {
  const words = (part: string): number[] =>
    part === ""
      ? []
      : part.split(":").flatMap((word) => (word.includes(".") ? dotted(word) : [Number.parseInt(word, 16)]));
  const [head, tail] = host.split("::") as [string, string | undefined];
  if (tail === undefined) return words(head);
  const [front, back] = [words(head), words(tail)];
  return [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
}

function dotted(text: string): number[] {
  const [a, b, c, d] = text.split(".").map(Number) as [number, number, number, number];
  return [256 * a + b, 256 * c + d];
}

export interface Listening {
  readonly fd: number;
  /** As others reach it: with the port that the system chose. */
  readonly address: string;
}

/** Listens on an address of this machine. @throws when it is taken or wrong */
export function listenOn(text: string, trusted = false): Listening {
  const address = rankAddress(text, trusted);
  const { family, bytes } = systemAddress(address);
  const c = libc();
  const fd = c.socket(family);
  const fail = (call: string): never => {
    const reason = c.errorName();
    if (fd >= 0) c.close(fd);
    throw new Error(`cannot listen on ${text}: ${call}: ${reason}; choose a free address of this machine`);
  };
  if (fd < 0) fail("socket");
  c.setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (c.bind(fd, bytes) < 0) fail("bind");
  if (c.listen(fd, BACKLOG) < 0) fail("listen");
  if (address.protocol === "unix") return { fd, address: text };
  return { fd, address: formatAddress({ ...address, port: c.boundPort(fd) }) };
}
