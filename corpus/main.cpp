// cowvet-corpus: builds the images that the recipes describe.
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "corpus/builder/cases.hpp"

namespace {

using cowvet::corpus::Case;

constexpr const char* usage =
    "usage: cowvet-corpus list [FILTER]            the cases: rule, recipe, what is wrong\n"
    "       cowvet-corpus build OUTDIR [FILTER]    builds each case to OUTDIR/AREA/RULE/NAME.qcow2\n"
    "                                              or OUTDIR/good/NAME.qcow2\n"
    "       cowvet-corpus make RECIPE OUT          builds one image from a recipe file\n"
    "       cowvet-corpus where RECIPE             says where each structure of the image lies\n"
    "FILTER is a part of a case's path, such as refcount/ or good/luks.\n";

int fail(const std::string& message) {
  fmt::print(stderr, "cowvet-corpus: {}\n", message);
  return 1;
}

int list(const std::string& filter) {
  for (const auto& c : cowvet::corpus::list_cases(cowvet::corpus::corpus_directory(), filter)) {
    const auto image = cowvet::corpus::build_case(c);
    if (!image) return fail(image.error().message);
    fmt::print("{}: {}\n", c.path, image->title);
  }
  return 0;
}

int build(const std::string& directory, const std::string& filter) {
  std::size_t built = 0;
  for (const auto& c : cowvet::corpus::list_cases(cowvet::corpus::corpus_directory(), filter)) {
    const auto image = cowvet::corpus::build_case(c);
    if (!image) return fail(image.error().message);
    const std::filesystem::path out = std::filesystem::path(directory) / (c.path + ".qcow2");
    std::error_code error;
    std::filesystem::create_directories(out.parent_path(), error);
    if (auto saved = cowvet::corpus::save(*image, out.string()); !saved) return fail(saved.error().message);
    ++built;
  }
  fmt::print("{} images built\n", built);
  return 0;
}

cowvet::base::Result<cowvet::corpus::BuiltImage> build_file(const std::string& recipe) {
  return cowvet::corpus::build_case(
      Case{recipe, std::filesystem::path(recipe).replace_extension().string(), {}, {}});
}

int make(const std::string& recipe, const std::string& out) {
  const auto image = build_file(recipe);
  if (!image) return fail(image.error().message);
  if (auto saved = cowvet::corpus::save(*image, out); !saved) return fail(saved.error().message);
  return 0;
}

int where(const std::string& recipe) {
  const auto image = build_file(recipe);
  if (!image) return fail(image.error().message);
  for (const auto& r : image->layout.regions())
    fmt::print("{:#012x} {:>10} bytes  @{}\n", r.region.offset, r.region.length, r.path);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::string verb = words.empty() ? "" : words[0];
  if (verb == "list" && words.size() <= 2) return list(words.size() == 2 ? words[1] : "");
  if (verb == "build" && (words.size() == 2 || words.size() == 3))
    return build(words[1], words.size() == 3 ? words[2] : "");
  if (verb == "make" && words.size() == 3) return make(words[1], words[2]);
  if (verb == "where" && words.size() == 2) return where(words[1]);
  const bool help = verb == "--help" || verb == "help";
  fmt::print(help ? stdout : stderr, "{}", usage);
  return help ? 0 : 1;
}
