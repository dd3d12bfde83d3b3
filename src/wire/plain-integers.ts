// Lets the generated codecs read 64-bit integers as numbers, as their types say. protobufjs makes objects of
// them wherever the package `long` lies beside it. Above 2^53 the number is not exact: readers ask for safe ones.
import protobuf from 'protobufjs/minimal.js';

Object.assign(protobuf.util, { Long: null });
protobuf.configure();
