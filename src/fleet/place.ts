// This process's place among the workers of a job: joined through the coordinator, with the servers that it trains against.
import { Member, type World } from "../cluster/index.ts";
import { Servers } from "./servers.ts";
import { Workers } from "./workers.ts";

export interface Place {
  readonly workers: Workers;
  readonly servers: Servers | undefined;
  /** What the environment, or the caller, says of the job. */
  readonly world: World;
  leave(): Promise<void>;
}

const aloneWorld: World = { job: "", role: "worker", rank: 0, workers: 1, servers: 0, attempt: 0 };

/** A process that is the whole job. */
export const alone: Place = {
  workers: new Workers({ rank: 0, workers: 1 }),
  servers: undefined,
  world: aloneWorld,
  leave: async () => {},
};

/** How long servers may take to be there. */
const SERVERS_MS = 120_000;

/**
 * @param addresses of partitions, where they are not those of the job
 * @throws ClusterError when the coordinator or a server does not come
 */
export async function takePlace(world: World, addresses: readonly string[] | undefined): Promise<Place> {
  const { rank, workers: count, servers: serverCount, attempt, keys } = world;
  const served = serverCount > 0 || addresses !== undefined;
  let workers: Workers | undefined;
  const onLost = ({ message }: Error): void => workers?.lose(`the coordinator of the job is gone: ${message}`);
  const member = world.coordinator === undefined ? undefined : await Member.connect(world, { onLost });
  await member?.join();
  // With the name of this machine as the others reach it.
  const place = { world: member?.world ?? world, leave: async () => member?.leave() };
  const options = { rank, workers: count, attempt, member, bound: !served, ...(keys === undefined ? {} : { keys }) };
  if (!served) {
    workers = new Workers(options);
    return { ...place, workers, servers: undefined };
  }
  const members =
    addresses === undefined && member !== undefined
      ? await member.members("server", serverCount, { timeoutMs: SERVERS_MS })
      : [];
  const servers = new Servers({ ...options, addresses: addresses ?? members.flatMap((server) => server.addresses) });
  return { ...place, workers: servers, servers };
}
