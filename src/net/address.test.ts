import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalHost, formatAddress, isLoopback, parseAddress } from "./address.ts";
import { ConnectionError } from "./error.ts";

describe("addresses", () => {
  it.each([
    ["tcp://127.0.0.1:80", { protocol: "tcp", host: "127.0.0.1", port: 80 }],
    ["tcp://localhost:0", { protocol: "tcp", host: "localhost", port: 0 }],
    ["tcp://[::1]:65535", { protocol: "tcp", host: "::1", port: 65535 }],
    ["tls://node-1.cluster:4000", { protocol: "tls", host: "node-1.cluster", port: 4000 }],
    ["tls://[fe80::1]:4000", { protocol: "tls", host: "fe80::1", port: 4000 }],
    ["unix:///run/a b.sock", { protocol: "unix", path: "/run/a b.sock" }],
  ])("%s", (text, parsed) => {
    expect(parseAddress(text)).toEqual(parsed);
    expect(formatAddress(parseAddress(text))).toBe(text);
  });

  it.each([
    ["", "not an address"],
    ["http://127.0.0.1:80", "not an address"],
    ["tcp://127.0.0.1", "not an address"],
    ["tcp://127.0.0.1:80/x", "not an address"],
    ["tcp://:80", "not an address"],
    ["tcp://a@127.0.0.1:80", "not an address"],
    ["tcp://127.0.0.1:65536", "ports end at 65535"],
    ["tls://[12.3]:1", "no IPv6 address"],
    ["unix://relative", "not an address"],
    [`unix:///${"x".repeat(200)}`, "more than the 1"],
  ])("%j is refused by name", (text, reason) => {
    expect(() => parseAddress(text)).toThrow(ConnectionError);
    expect(() => parseAddress(text)).toThrow(`address ${JSON.stringify(text)}: `);
    expect(() => parseAddress(text)).toThrow(reason);
  });

  it.each(["10.0.0.1", "0.0.0.0", "node-1", "[::]", "[::ffff:10.0.0.1]", "127.example.com", "192.168.0.7"])(
    "plain tcp to %s is refused, with what to write",
    (host) => {
      expect(() => parseAddress(`tcp://${host}:80`)).toThrow(/plain tcp .* needs tls:\/\/ with keys/);
      expect(parseAddress(`tls://${host}:80`)).toMatchObject({ protocol: "tls" });
    },
  );

  it("never throw anything else", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string({ unit: "grapheme-ascii" }),
          fc.string().map((text) => `tcp://${text}:1`),
        ),
        (text) => {
          try {
            const address = parseAddress(text);
            expect(parseAddress(formatAddress(address))).toEqual(address);
            if (address.protocol === "tcp") expect(isLoopback(address.host)).toBe(true);
          } catch (error) {
            expect(error).toBeInstanceOf(ConnectionError);
          }
        },
      ),
    );
  });

  it("have one form of a host", () => {
    expect(canonicalHost("0:0:0:0:0:0:0:1")).toBe("::1");
    expect(canonicalHost("FE80::0001")).toBe("fe80::1");
    expect(canonicalHost("Node-1")).toBe("node-1");
  });
});
