// What the transport leaves behind: nothing; and what it says where it cannot work at all.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it, vi } from 'vitest';
import { assertInvariant } from '../../../../src/util/errors.ts';
import { bareTransport, noUpgrader, portOf, quicAddress, startQuicHost } from '../../../support/quic-host.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../../../', import.meta.url));

it('a process that has stopped its hosts ends by itself', async () => {
  const { stdout } = await run(process.execPath, ['test/support/quic-lifetime.ts'], {
    cwd: root,
    timeout: 10_000,
  });
  expect(stdout).toBe('hello\nstopped\n');
});

it('a host that was stopped can start again, and be dialled again', async () => {
  const [host, dialler] = await Promise.all([startQuicHost(), startQuicHost()]);
  const connection = await dialler.dial(quicAddress(portOf(host), host));
  const closed = new Promise((resolve) => connection.addEventListener('close', resolve));
  await host.stop();
  await closed;
  expect(host.getMultiaddrs()).toEqual([]);
  await host.start();
  await dialler.dial(quicAddress(portOf(host), host));
  await vi.waitFor(() => expect(host.getConnections()).toHaveLength(1));
});

it('a listener that was closed gives its port back', async () => {
  const { transport } = await bareTransport('ours');
  const listeners = [0, 1].map(() => transport.createListener({ upgrader: noUpgrader }));
  await listeners[0]?.listen(quicAddress(0));
  const [address] = listeners[0]?.getAddrs() ?? [];
  assertInvariant(address !== undefined, 'the listener listens');
  await expect(listeners[1]?.listen(address)).rejects.toMatchObject({ code: 'port_in_use' });
  await listeners[0]?.close();
  await listeners[1]?.listen(address);
  expect(listeners[1]?.getAddrs().map(String)).toEqual([String(address)]);
  await listeners[1]?.close();
});

it('a machine without the native library gets quic_unavailable, and can go on', async () => {
  const program = `
    import('./src/net/quic/native.ts')
      .then(({ loadNativeQuic }) => loadNativeQuic())
      .catch((error) => console.log(error.code, error.message));`;
  const { stdout } = await run(process.execPath, ['-e', program], {
    cwd: root,
    env: { ...process.env, NAPI_RS_NATIVE_LIBRARY_PATH: '/nonexistent.node' },
  });
  expect(stdout).toBe(
    `quic_unavailable There is no QUIC library for ${process.platform} on ${process.arch}.\n`,
  );
});
