// Hosts on one machine whose cables can be pulled: network namespaces joined by a bridge. Needs Linux, root and
// iproute2. Only what is made here is ever touched.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Prefix of all names: those of this run, for another one may go on beside it. */
const prefix = `meshnode-${process.pid}-`;

export class Cables {
  readonly #hub = `${prefix}hub`;
  readonly #hosts: string[] = [];

  private constructor() {}

  /** Undefined where namespaces cannot be made. */
  static async lay(hosts: readonly string[]): Promise<Cables | undefined> {
    const cables = new Cables();
    try {
      await run('ip', ['netns', 'add', cables.#hub]);
      await cables.#inHub('ip', 'link', 'add', 'bridge0', 'type', 'bridge');
      await cables.#inHub('ip', 'link', 'set', 'bridge0', 'up');
      for (const host of hosts) {
        await cables.#add(host);
      }
      return cables;
    } catch {
      await cables.remove();
      return undefined;
    }
  }

  /** The address of a host. */
  address(host: string): string {
    return `10.77.0.${this.#hosts.indexOf(host) + 1}`;
  }

  /** What a command is to be run by, so that it runs on a host. */
  commandOn(host: string, command: string): readonly [command: string, ...args: string[]] {
    return ['ip', 'netns', 'exec', prefix + host, command];
  }

  /** From now on nothing comes or goes there, and nobody is told. */
  async pull(host: string): Promise<void> {
    await this.#inHub('bridge', 'link', 'set', 'dev', host, 'state', '0');
  }

  async plug(host: string): Promise<void> {
    await this.#inHub('bridge', 'link', 'set', 'dev', host, 'state', '3');
  }

  async remove(): Promise<void> {
    for (const name of [...this.#hosts.map((host) => prefix + host), this.#hub]) {
      await run('ip', ['netns', 'del', name]).catch(() => {}); // Not there.
    }
  }

  async #add(host: string): Promise<void> {
    const name = prefix + host;
    this.#hosts.push(host);
    await run('ip', ['netns', 'add', name]);
    await this.#inHub('ip', 'link', 'add', host, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
    await this.#inHub('ip', 'link', 'set', host, 'master', 'bridge0');
    await this.#inHub('ip', 'link', 'set', host, 'up');
    await run('ip', ['-n', name, 'addr', 'add', `${this.address(host)}/24`, 'dev', 'eth0']);
    await run('ip', ['-n', name, 'link', 'set', 'eth0', 'up']);
    await run('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  }

  async #inHub(...command: string[]): Promise<void> {
    await run('ip', ['netns', 'exec', this.#hub, ...command]);
  }
}
