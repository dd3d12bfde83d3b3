// `meshnode config` and its subcommands: the settings, where their values come from, and changing them.
import { loadConfig } from '../node/config.ts';
import { setInConfigFile } from '../node/config-edit.ts';
import { type Explanation, explainSetting } from '../node/config-explain.ts';
import { fileKeyOf, settingKeys } from '../node/config-schema.ts';
import { type CommandContext, requiredArgument } from './command-context.ts';

/** `meshnode config`: every setting with its value and source. */
export async function showConfig({ options, environment, output }: CommandContext): Promise<number> {
  const loaded = await loadConfig(options.flags(), environment);
  const explanations = settingKeys.map((key) => explainSetting(loaded, fileKeyOf(key)));
  if (output.json) {
    output.value(Object.fromEntries(explanations.map(({ key, value }) => [key, value ?? null])));
  } else {
    output.table(
      ['SETTING', 'VALUE', 'FROM'],
      explanations.map((one) => [one.key, shown(one.value), from(one)]),
    );
    output.line(`\nFile: ${loaded.paths.configFile}`);
  }
  for (const warning of loaded.warnings) {
    output.say(warning);
  }
  return 0;
}

/** `meshnode config get KEY` */
export async function getConfig(context: CommandContext): Promise<number> {
  const { output } = context;
  const { value } = await explain(context);
  if (output.json) {
    output.value(value ?? null);
  } else {
    output.line(shown(value));
  }
  return 0;
}

/** `meshnode config set KEY VALUE` */
export async function setConfig(context: CommandContext): Promise<number> {
  const { options, environment, output } = context;
  const { paths } = await loadConfig(options.flags(), environment);
  await setInConfigFile(paths.configFile, requiredArgument(context, 0), requiredArgument(context, 1));
  const explanation = await explain(context);
  if (output.json) {
    output.value({ key: explanation.key, value: explanation.value ?? null, file: paths.configFile });
  } else {
    output.say(`${explanation.key} = ${shown(explanation.value)} in ${paths.configFile}`);
  }
  if (explanation.source === 'flag' || explanation.source === 'environment') {
    output.say(`Now ${explanation.where} overrides it.`);
  }
  return 0;
}

/** `meshnode config explain KEY` */
export async function explainConfig(context: CommandContext): Promise<number> {
  const { output } = context;
  const explanation = await explain(context);
  if (output.json) {
    output.value(explanation);
    return 0;
  }
  output.line(
    `${output.styled('strong', explanation.key)} = ${shown(explanation.value)}   from ${from(explanation)}`,
  );
  output.line(explanation.about);
  for (const claim of explanation.overruled) {
    output.line(`  overrides ${shown(claim.value)} from ${from(claim)}`);
  }
  const { flag, environment, file } = explanation.setBy;
  output.line(
    `Set it with ${[flag, environment, file && `${file} in the file`].filter(Boolean).join(', or ')}.`,
  );
  return 0;
}

/** `meshnode config path` */
export async function configPath({ options, environment, output }: CommandContext): Promise<number> {
  const { paths } = await loadConfig(options.flags(), environment);
  if (output.json) {
    output.value({ file: paths.configFile, data: paths.dataDir });
  } else {
    output.line(paths.configFile);
  }
  return 0;
}

async function explain(context: CommandContext): Promise<Explanation> {
  const loaded = await loadConfig(context.options.flags(), context.environment);
  return explainSetting(loaded, requiredArgument(context, 0));
}

function shown(value: unknown): string {
  if (value === undefined) {
    return '(not set)';
  }
  return Array.isArray(value) ? value.join(',') || '(none)' : String(value);
}

function from({ source, where }: { source: string; where: string }): string {
  return where === '' ? source : `${source} ${where}`;
}
