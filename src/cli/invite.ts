// `meshnode invite`: a token for another machine. The token alone goes to standard output.
import { roleNames } from '../console/mesh-port.ts';
import { loadConfig } from '../node/config.ts';
import { MeshnodeError } from '../util/errors.ts';
import { trustLimits } from '../util/limits/trust.ts';
import type { CommandContext } from './command-context.ts';
import { parseDuration } from './duration.ts';
import { NodeClient } from './node-client.ts';

export async function invite(context: CommandContext): Promise<number> {
  const { options, environment, output, interrupted } = context;
  const request = {
    role: roleOption(context),
    ttlMs: parseDuration(options.text('ttl') ?? '24h', '--ttl'),
    uses: usesOption(context),
    strict: options.has('strict'),
  };
  const { paths } = await loadConfig(options.flags(), environment);
  const client = await NodeClient.find(paths.dataDir);
  const made = await client.invite(request, interrupted);
  if (output.json) {
    output.value(made);
    return 0;
  }
  output.line(made.token);
  if (options.has('qr')) {
    const { renderUnicodeCompact } = await import('uqr');
    output.say(renderUnicodeCompact(made.token));
  }
  const times = made.uses === 1 ? 'once' : `${made.uses} times`;
  output.say(`It can be used ${times}, for the role ${made.role}, until ${made.expiresAt}. Keep it secret.`);
  output.say(`On the other machine: meshnode --join ${made.token}`);
  return 0;
}

function roleOption({ options }: CommandContext): (typeof roleNames)[number] {
  const text = options.text('role') ?? 'serve';
  const role = roleNames.find((name) => name === text);
  if (role === undefined) {
    throw new MeshnodeError('usage', `--role takes ${roleNames.join(', ')}, not '${text}'.`);
  }
  return role;
}

function usesOption({ options }: CommandContext): number {
  const uses = options.number('uses') ?? 1;
  if (!(Number.isInteger(uses) && uses >= 1 && uses <= trustLimits.inviteUses)) {
    throw new MeshnodeError('usage', `--uses takes a whole number from 1 to ${trustLimits.inviteUses}.`);
  }
  return uses;
}
