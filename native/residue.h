// What a port leaves outside the process: socket files and XDP programs. They are removed when the process exits
// without having closed its ports; process memory, hugepages included, goes by itself.
#pragma once

#include <functional>
#include <string>

namespace lunet::residue {

/** The file is removed at exit. */
void addFile(const std::string& path);
/** Removes the file now. */
void removeFile(const std::string& path);

/** `cleanUp` runs at exit unless forgotten before. `owner` names it. */
void add(const void* owner, std::function<void()> cleanUp);
void forget(const void* owner);

}  // namespace lunet::residue
