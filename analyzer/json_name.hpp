// Backing names that begin with json:, the options of a block device in QEMU's words. Promises: reads any text; what
// could not be read gives nothing; only what is a plain local file is turned into its name.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace cowvet::analyzer {

// The text behind "json:", flattened as QEMU does: {"file": {"filename": "a"}} has "file.filename" = "a".
// Numbers, true, false and null are their own text; strings begin with '"', so that they can be told from
// these.
[[nodiscard]] std::optional<std::map<std::string, std::string>> flatten_json(std::string_view text);

struct JsonFile {
  std::string file;
  std::string format;       // "" when it is not said
  bool no_backing = false;  // "backing": null
  bool no_folder =
      false;  // one of several files that are read as one: QEMU resolves no relative name from there
};

// What `name` means when it is a plain local file: a format over a file, with no other option; or over files
// that are read together (quorum, blkverify), of which it is the first. Nothing otherwise.
[[nodiscard]] std::optional<JsonFile> json_file(std::string_view name);

}  // namespace cowvet::analyzer
