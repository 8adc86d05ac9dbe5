// Fetching oneDNN, against stand-ins for apt whose archive is a folder: every failure must end in a reason.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findOneDnn } from "../providers/onednn/library.ts";
import { parseRecord } from "./apt.ts";
import { fetchOneDnn } from "./index.ts";

const installed = findOneDnn().library?.path;
const hasDpkg = process.platform === "linux" && existsSync("/usr/bin/dpkg-deb");

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "flotilla-fetch-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A package with one file, in the archive that the stand-ins serve. */
function pack(name: string, version: string, file: string, content: string | { copyOf: string }): void {
  const root = join(folder, "pack");
  mkdirSync(join(root, "DEBIAN"), { recursive: true });
  mkdirSync(dirname(join(root, file)), { recursive: true });
  const control = `Package: ${name}\nVersion: ${version}\nArchitecture: all\nMaintainer: t <t@t>\nDescription: t\n`;
  writeFileSync(join(root, "DEBIAN", "control"), control);
  if (typeof content === "string") writeFileSync(join(root, file), content);
  else copyFileSync(content.copyOf, join(root, file));
  mkdirSync(join(folder, "archive"), { recursive: true });
  const deb = join(folder, "archive", `${name}_${version}_all.deb`);
  execFileSync("dpkg-deb", ["-Znone", "-b", root, deb], { stdio: "ignore" });
  rmSync(root, { recursive: true });
}

/** Puts apt-get and apt-cache in front of PATH. They know a package once its record lies in the folder `lists`. */
function standIns(): Record<string, string> {
  const script = (name: string, body: string): void => {
    const path = join(folder, "bin", name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `#!/bin/sh\ncd_to=$PWD\nroot=${folder}\nwhile [ "\${1#-}" != "$1" ]; do shift; done\n${body}`);
    chmodSync(path, 0o755);
  };
  script(
    "apt-cache",
    `case $1 in
       search) ls "$root/lists" 2>/dev/null | sed 's/$/ - a library/' ;;
       show) shift; while [ "\${1#-}" != "$1" ]; do shift; done; cat "$root/lists/$1" ;;
     esac`,
  );
  script(
    "apt-get",
    `case $1 in
       update) [ -e "$root/mirror" ] || { echo "E: no mirror" >&2; exit 100; }; cp -r "$root/mirror/." "$root/lists" ;;
       download) cp "$root/archive/\${2%%=*}"_* "$cd_to/" || { echo "E: 404 Not Found" >&2; exit 100; } ;;
     esac`,
  );
  return { PATH: `${join(folder, "bin")}:${process.env.PATH}`, XDG_CACHE_HOME: join(folder, "cache"), HOME: folder };
}

/** Writes the record of a package into `lists` or `mirror`. */
function record(where: "lists" | "mirror", name: string, version: string, sha256?: string): void {
  const deb = join(folder, "archive", `${name}_${version}_all.deb`);
  const sum = sha256 ?? createHash("sha256").update(readFileSync(deb)).digest("hex");
  mkdirSync(join(folder, where), { recursive: true });
  writeFileSync(join(folder, where, name), `Package: ${name}\nVersion: ${version}\nDepends: libc6\nSHA256: ${sum}\n`);
}

const fetchHere = async (env: Record<string, string>): Promise<[string, string[]]> => {
  const lines: string[] = [];
  const result = await fetchOneDnn({ env, force: true, log: (line) => lines.push(line) });
  return [result.ok ? result.path : result.reason, lines];
};
const cached = (): string[] => {
  const cache = join(folder, "cache", "flotilla", "onednn");
  return existsSync(cache) ? readdirSync(cache) : [];
};

describe.skipIf(!hasDpkg)(`failures${hasDpkg ? "" : " (skipped: no dpkg-deb here)"}`, () => {
  test("no package tools", async () => {
    const env = { PATH: folder, XDG_CACHE_HOME: join(folder, "cache") };
    expect((await fetchHere(env))[0]).toBe("apt-cache is not installed");
  });

  test("a cache folder that cannot be made", async () => {
    writeFileSync(join(folder, "file"), "");
    const [reason] = await fetchHere({ ...standIns(), XDG_CACHE_HOME: join(folder, "file") });
    expect(reason).toMatch(/ENOTDIR/);
  });

  test("lists that know nothing, before and after the update", async () => {
    expect((await fetchHere(standIns()))[0]).toMatch(/know no libdnnl; with updated lists: .*no mirror/);
  });

  test("a package that is gone", async () => {
    mkdirSync(join(folder, "mirror"));
    mkdirSync(join(folder, "lists"));
    record("lists", "libdnnl3", "3.1", "00");
    expect((await fetchHere(standIns()))[0]).toMatch(/404 Not Found; with updated lists/);
  });

  test("a checksum that does not match", async () => {
    pack("libdnnl3", "3.1", "usr/lib/libdnnl.so.3", "x");
    record("lists", "libdnnl3", "3.1", "00");
    expect((await fetchHere(standIns()))[0]).toMatch(/libdnnl3_3.1_all.deb is damaged .* the package list says 00/);
    expect(cached()).toEqual([]);
  });

  test("a library that does not load leaves nothing behind", async () => {
    pack("libdnnl3", "3.1", "usr/lib/libdnnl.so.3", "not a library");
    record("lists", "libdnnl3", "3.1");
    expect((await fetchHere(standIns()))[0]).toMatch(/cannot load .*libdnnl\.so\.3/);
    expect(cached()).toEqual([]);
  });

  test("a package without the library", async () => {
    pack("libdnnl3", "3.1", "usr/lib/other.so", "x");
    record("lists", "libdnnl3", "3.1");
    expect((await fetchHere(standIns()))[0]).toMatch(/the package holds no .*libdnnl/);
  });
});

const skipped = !hasDpkg ? "no dpkg-deb here" : installed ? "" : "oneDNN is not installed";
describe.skipIf(skipped)(`success${skipped ? ` (skipped: ${skipped})` : ""}`, () => {
  const file = "usr/lib/libdnnl.so.3.6";

  test("the newest package is checked, unpacked and found afterwards", async () => {
    pack("libdnnl2", "2.6", "usr/lib/libdnnl.so.2", "old");
    record("lists", "libdnnl2", "2.6");
    pack("libdnnl3.6", "3.6-1", file, { copyOf: installed! });
    record("lists", "libdnnl3.6", "3.6-1");
    const env = standIns();
    const path = join(folder, "cache", "flotilla", "onednn", "libdnnl3.6-3.6-1", "libdnnl.so.3.6");
    expect((await fetchHere(env))[0]).toBe(path);
    expect(cached()).toEqual(["libdnnl3.6-3.6-1"]);
    // Again over what lies there.
    expect((await fetchHere(env))[0]).toBe(path);
  });

  test("stale lists are updated in a folder of our own", async () => {
    pack("libdnnl3.6", "3.6-2", file, { copyOf: installed! });
    mkdirSync(join(folder, "lists"));
    record("mirror", "libdnnl3.6", "3.6-2");
    const [path, lines] = await fetchHere(standIns());
    expect(path).toMatch(/libdnnl3\.6-3\.6-2/);
    expect(lines.join("\n")).toMatch(/updating the package lists/);
  });

  test("nothing is fetched where a working library lies", async () => {
    const env = { ...standIns(), FLOTILLA_ONEDNN: installed! };
    expect(await fetchOneDnn({ env })).toMatchObject({ ok: true, path: installed, fetched: false });
    expect(cached()).toEqual([]);
  });
});

test("apt-cache records", () => {
  const text =
    "Package: libdnnl2\nVersion: 2.6.3-1\nDepends: libc6 (>= 2.34), libgomp1 (>= 4.9), ocl-icd-libopencl1 | libopencl1\nSHA256: ab\n";
  expect(parseRecord("libdnnl2", text)).toEqual({
    name: "libdnnl2",
    version: "2.6.3-1",
    sha256: "ab",
    depends: ["libc6", "libgomp1", "ocl-icd-libopencl1", "libopencl1"],
  });
  expect(() => parseRecord("x", "Package: x\n")).toThrow(/apt-cache show x: no version/);
});
