// The checksums of memif once more, as on a processor without 512-bit vectors: the shim looks for them when it is loaded.
process.env.LUNET_NO_AVX512 = '1';
await import('./memif-checksums.test.js');
