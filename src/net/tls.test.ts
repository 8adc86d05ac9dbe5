// Who is let in over TLS, and how keys are made and replaced.

import { X509Certificate } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls, { type ConnectionOptions } from "node:tls";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { RpcClient } from "./client.ts";
import { ConnectionError } from "./error.ts";
import { makeKeys, rotateKeys, showKeys } from "./keys.ts";
import { RpcServer } from "./server.ts";
import { helloBytes, rawSocket, until, untilClosed } from "./testing.ts";

const folder = mkdtempSync(join(tmpdir(), "flotilla-tls-"));
const at = (name: string): string => join(folder, name);
const read = (name: string, file: string): string => readFileSync(join(folder, name, file), "utf8");
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(async () => {
  await makeKeys({ folder: at("ours") });
  await makeKeys({ folder: at("theirs") });
});

const handlers = {
  who: (_: Uint8Array, { peer }: { peer: { certificate: string | undefined } }) => [
    Buffer.from(peer.certificate ?? "nobody"),
  ],
};

describe("a server with keys", () => {
  let server: RpcServer;
  let refused: ConnectionError[];
  let calls: number;
  beforeEach(async () => {
    refused = [];
    calls = 0;
    server = await RpcServer.listen({
      address: "tls://127.0.0.1:0",
      keys: at("ours"),
      handlers: { secret: () => [Buffer.from(`secret ${++calls}`)] },
      onError: (error) => refused.push(error),
    });
  });
  afterEach(() => server.close());

  /** What a peer gets that speaks TLS in its own way. */
  async function steal(options: ConnectionOptions): Promise<string> {
    const port = Number(server.address.split(":").at(-1));
    const socket = tls.connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
    socket.once("secureConnect", () => socket.write(helloBytes(1n)));
    return (await untilClosed(socket)).toString("latin1");
  }

  it("gives a peer without a certificate nothing", async () => {
    expect(await steal({})).toBe("");
    await until(() => refused.length > 0);
    expect(refused[0]!.message).toMatch(/^127\.0\.0\.1 was refused: ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE$/);
  });

  it("gives a peer with a certificate of others nothing", async () => {
    const identity = read("theirs", "worker.pem");
    expect(await steal({ cert: identity, key: identity })).toBe("");
    await until(() => refused.length > 0);
    await expect(RpcClient.connect({ address: server.address, keys: at("theirs") })).rejects.toThrow(
      /cannot connect to tls:.*both sides need keys of the same `flotilla keys` folder/,
    );
    expect(calls).toBe(0);
  });

  it("refuses TLS below 1.3", async () => {
    const identity = read("ours", "worker.pem");
    expect(await steal({ cert: identity, key: identity, maxVersion: "TLSv1.2" })).toBe("");
    await until(() => refused.length > 0);
    expect(refused[0]!.message).toMatch(/was refused: (ERR_SSL_UNSUPPORTED_PROTOCOL|ECONNRESET)$/);
  });

  it("gives plain text nothing", async () => {
    const socket = await rawSocket(server.address);
    socket.write(helloBytes(1n));
    expect((await untilClosed(socket)).includes("FLOT")).toBe(false);
  });

  it("is not taken for one of another host, by the client", async () => {
    const name = server.address.replace("127.0.0.1", "127.0.0.2");
    const other = await RpcServer.listen({ address: name.replace(/\d+$/, "0"), keys: at("ours"), handlers: {} });
    await expect(RpcClient.connect({ address: other.address, keys: at("ours") })).rejects.toThrow(
      /IP: 127\.0\.0\.2 is not in the cert's list/,
    );
    await other.close();
  });
});

describe("addresses with tls", () => {
  it.each([
    [undefined, "needs keys: give the folder that `flotilla keys make` wrote"],
    ["nowhere", "nowhere/server.pem: cannot be read: ENOENT; make keys by `flotilla keys make`"],
    ["damaged", "damaged/server.pem: holds a damaged certificate"],
    ["empty", "empty/server.pem: holds no certificate"],
  ])("refuse keys that are %s, by name", async (name, message) => {
    if (name === "damaged" || name === "empty") {
      cpSync(at("ours"), at(name), { recursive: true });
      const text = read(name, "server.pem");
      writeFileSync(
        join(at(name), "server.pem"),
        name === "empty" ? "" : text.replace(/CERTIFICATE-----\nMII./, "$&!"),
      );
      if (name === "damaged")
        writeFileSync(join(at(name), "server.pem"), text.replace("CERTIFICATE-----\nMII", "CERTIFICATE-----\nAII"));
    }
    const keys = name === undefined ? {} : { keys: at(name) };
    const listening = RpcServer.listen({ address: "tls://127.0.0.1:0", ...keys, handlers: {} });
    await expect(listening).rejects.toThrow(ConnectionError);
    await expect(listening).rejects.toThrow(message);
  });
});

describe("keys", () => {
  it("are files for their owner alone, and show what they are", async () => {
    const made = await makeKeys({ folder: at("shown"), hosts: ["10.1.2.3", "fe80:0::1", "Node-7"], days: 30 });
    for (const file of ["ca.pem", "ca.key", "server.pem", "worker.pem"]) {
      expect(statSync(join(at("shown"), file)).mode & 0o777, file).toBe(0o600);
    }
    expect(statSync(at("shown")).mode & 0o777).toBe(0o700);
    expect(await showKeys(at("shown"))).toEqual(made);
    expect(made.map(({ file, name }) => [file, name.replace(/[0-9a-f]{8}$/, "…")])).toEqual([
      ["ca.pem", "flotilla authority …"],
      ["server.pem", "server"],
      ["worker.pem", "worker"],
    ]);
    const server = made[1]!;
    expect(server.hosts).toEqual(
      expect.arrayContaining(["localhost", "127.0.0.1", "::1", "10.1.2.3", "fe80::1", "node-7"]),
    );
    expect(server.to.getTime() - Date.now()).toBeCloseTo(30 * 24 * 3600 * 1000, -5);
    const certificate = new X509Certificate(read("shown", "server.pem").split(/(?=-----BEGIN CERT)/)[1]!);
    const authority = new X509Certificate(read("shown", "ca.pem"));
    expect(certificate.fingerprint256).toBe(server.fingerprint);
    expect([certificate.checkIssued(authority), certificate.verify(authority.publicKey)]).toEqual([true, true]);
    expect([certificate.ca, authority.ca]).toEqual([false, true]);
    expect(certificate.checkHost("node-7")).toBe("node-7");
    expect(certificate.checkIP("fe80::1")).toBe("fe80::1");
    expect(certificate.checkIP("10.1.2.4")).toBeUndefined();
  });

  it("are not replaced by making new ones, nor made for what is no host", async () => {
    await expect(makeKeys({ folder: at("ours") })).rejects.toThrow(/holds keys \(.*ca\.pem.*`flotilla keys rotate`/);
    await expect(makeKeys({ folder: at("bad"), hosts: ["a b"] })).rejects.toThrow('host "a b" is no name of a machine');
    await expect(makeKeys({ folder: at("bad2"), days: 0 })).rejects.toThrow("days is 0");
    await expect(showKeys(at("bad3"))).rejects.toThrow("cannot be read: ENOENT");
    await expect(rotateKeys({ folder: at("bad4") })).rejects.toThrow(/ca\.key: cannot be read: ENOENT; rotate where/);
  });

  it("are rotated in any order of processes and machines, and the old authority is dropped in the end", async () => {
    await makeKeys({ folder: at("a"), hosts: ["10.9.8.7"] });
    cpSync(at("a"), at("b"), { recursive: true });
    const server = await RpcServer.listen({ address: "tls://127.0.0.1:0", keys: at("a"), handlers });
    const who = async (keys: string): Promise<string> => {
      const client = await RpcClient.connect({ address: server.address, keys: at(keys) });
      const reply = await client.call("who");
      await client.close();
      return Buffer.from(reply).toString();
    };
    const steady = await RpcClient.connect({ address: server.address, keys: at("a") });

    // The folder is new, the server still shows its old certificate; then the other way round for "b".
    const rotated = await rotateKeys({ folder: at("a") });
    expect(rotated.filter(({ file }) => file === "ca.pem").length).toBe(2);
    expect(rotated.find(({ file }) => file === "worker.pem")!.hosts).toContain("10.9.8.7");
    expect([await who("a"), await who("b")]).toEqual(["worker", "worker"]);
    await server.reloadKeys();
    expect([await who("a"), await who("b")]).toEqual(["worker", "worker"]);
    expect(Buffer.from(await steady.call("who")).toString()).toBe("worker");

    // A second rotation ends the trust in the first authority.
    await rotateKeys({ folder: at("a") });
    await server.reloadKeys();
    expect(await who("a")).toBe("worker");
    await expect(who("b")).rejects.toThrow(ConnectionError);

    await rotateKeys({ folder: at("a"), dropOld: true });
    await server.reloadKeys();
    expect((await showKeys(at("a"))).filter(({ file }) => file === "ca.pem").length).toBe(1);
    expect(await who("a")).toBe("worker");
    await steady.close();
    await server.close();
  });

  it("need their authority's key to be rotated", async () => {
    cpSync(at("ours"), at("copy"), { recursive: true });
    unlinkSync(join(at("copy"), "ca.key"));
    await expect(rotateKeys({ folder: at("copy") })).rejects.toThrow("ca.key: cannot be read");
    expect((await showKeys(at("copy"))).length).toBe(3);
  });
});
