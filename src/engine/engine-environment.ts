// What of the node's environment the process of a model may see: what a runtime needs to find its libraries
// and devices. Keys and tokens of the node are not among it: a model file can take its process over. Pure.

const names = new Set([
  ...['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'TZ', 'TMPDIR', 'TEMP', 'TMP', 'LD_LIBRARY_PATH'],
  // Windows starts no program without these.
  ...['SYSTEMROOT', 'WINDIR', 'PATHEXT', 'COMSPEC', 'USERPROFILE', 'APPDATA', 'LOCALAPPDATA'],
]);

/** Of locales, dynamic linkers, and the runtimes of GPU makers. */
const prefixes = [
  ...['LC_', 'XDG_', 'DYLD_', 'OMP_'],
  ...['GGML_', 'CUDA_', 'NVIDIA_', 'VK_', 'HIP_', 'HSA_', 'ROCR_', 'METAL_', 'MTL_'],
];

/** The part of `environment` that an engine's process gets. */
export function engineEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const entries = Object.entries(environment).flatMap(([name, value]) => {
    const upper = name.toUpperCase();
    const passes = names.has(upper) || prefixes.some((prefix) => upper.startsWith(prefix));
    return passes && value !== undefined ? [[name, value] as const] : [];
  });
  return Object.fromEntries(entries);
}
