import { describe, expect, it } from 'vitest';
import { listenOn } from '../../../src/node/listen-port.ts';
import { MeshFolder } from '../../../src/node/mesh-folder.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { rejectionOf } from '../../support/thrown.ts';

const folder = new MeshFolder(await temporaryFolder());

/** Opens any port but those taken; resolves to the port. */
const unless = (isTaken: (port: number) => boolean) => async (port: number) => {
  if (isTaken(port)) {
    throw new MeshnodeError('port_in_use', `Port ${port} is taken.`);
  }
  return port;
};

describe('the port for other nodes', () => {
  it('is the first free one from 9338, and the same at the next start', async () => {
    expect(
      await listenOn(
        undefined,
        folder,
        unless((port) => port < 9340),
      ),
    ).toBe(9340);
    expect(
      await listenOn(
        undefined,
        folder,
        unless(() => false),
      ),
    ).toBe(9340);
  });

  it('is another one if somebody has taken that', async () => {
    expect(
      await listenOn(
        undefined,
        folder,
        unless((port) => port === 9340),
      ),
    ).toBe(9338);
    expect(await folder.listenPort()).toBe(9338);
  });

  it('is the one that is asked for, or none', async () => {
    expect(
      await listenOn(
        0,
        folder,
        unless(() => false),
      ),
    ).toBe(0);
    expect(
      await rejectionOf(
        listenOn(
          80,
          folder,
          unless(() => true),
        ),
      ),
    ).toMatchObject({ code: 'port_in_use' });
    expect(await folder.listenPort()).toBe(9338);
  });

  it('says which ports were tried when none is free, and what fails otherwise', async () => {
    expect(
      (
        await rejectionOf(
          listenOn(
            undefined,
            folder,
            unless(() => true),
          ),
        )
      ).message,
    ).toMatch(/9338 to \d+/);
    const failing = listenOn(undefined, folder, async () => {
      throw new MeshnodeError('config_invalid', 'That is no address.');
    });
    expect(await rejectionOf(failing)).toMatchObject({ code: 'config_invalid' });
  });
});
