// Addresses of services: `tcp://host:port` on this machine, `unix:///path`, `tls://host:port` anywhere.
import { isIP, isIPv6 } from "node:net";
import { ConnectionError } from "./error.ts";

export type Address =
  | { readonly protocol: "tcp" | "tls"; readonly host: string; readonly port: number }
  | { readonly protocol: "unix"; readonly path: string };

/** What the system can bind: `sun_path` of Linux has 108 bytes, of macOS 104, with the final zero. */
const MAX_UNIX_PATH_BYTES = process.platform === "linux" ? 107 : 103;

const allowed = "write tcp://127.0.0.1:PORT, unix:///PATH or tls://HOST:PORT";

/**
 * @param text IPv6 hosts stand in brackets; port 0 lets the system choose when listening
 * @throws ConnectionError that names the address: unknown form, or plain tcp to another machine
 */
export function parseAddress(text: string): Address {
  const wrong = (reason: string): ConnectionError =>
    new ConnectionError(`address ${JSON.stringify(text)}: ${reason}; ${allowed}`);
  const unix = /^unix:\/\/(\/[^\0]+)$/.exec(text);
  if (unix !== null) {
    const path = unix[1]!;
    if (Buffer.byteLength(path) > MAX_UNIX_PATH_BYTES) {
      throw wrong(`the path has more than the ${MAX_UNIX_PATH_BYTES} bytes that the system allows`);
    }
    return { protocol: "unix", path };
  }
  const parts = /^(tcp|tls):\/\/(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]@?#]+)):(\d{1,5})$/.exec(text);
  if (parts === null) throw wrong("not an address of a service");
  const protocol = parts[1] as "tcp" | "tls";
  const host = parts[2] ?? parts[3]!;
  const port = Number(parts[4]);
  if (parts[2] !== undefined && !isIPv6(host)) throw wrong("what stands in brackets is no IPv6 address");
  if (port > 65535) throw wrong("ports end at 65535");
  if (protocol === "tcp" && !isLoopback(host)) {
    throw wrong(
      `plain tcp has neither encryption nor identity, so ${host} needs tls:// with keys; tcp:// is for 127.0.0.1`,
    );
  }
  return { protocol, host, port };
}

export function formatAddress(address: Address): string {
  if (address.protocol === "unix") return `unix://${address.path}`;
  const host = isIPv6(address.host) ? `[${address.host}]` : address.host;
  return `${address.protocol}://${host}:${address.port}`;
}

/** Whether bytes for the host stay on this machine. Other names than `localhost` are not looked up: they do not count. */
export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1") return true;
  return isIP(host) === 4 && host.startsWith("127.");
}

/** The shortest form of an IPv6 address, so that two can be compared; other hosts in lower case. */
export function canonicalHost(host: string): string {
  return isIPv6(host) ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host.toLowerCase();
}
