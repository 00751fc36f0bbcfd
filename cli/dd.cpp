// cowvet dd: a part of an image into a new one, as qemu-img dd copies it.
#include <limits>

#include <fmt/format.h>

#include "base/checked.hpp"
#include "base/text.hpp"
#include "cli/conversion.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

struct DdRequest {
  std::vector<std::string> operands;
  std::string format, target_format = "raw";
  DiskWords disks;
  OverlayGuard guard;
  std::string input, output;
  std::uint64_t block = 512;           // bytes
  std::optional<std::uint64_t> count;  // blocks
  std::uint64_t skip = 0;              // blocks
};

// Sets `into` to a number such as 64k.
base::Result<void> number(std::string_view name, const std::string& value, std::uint64_t least,
                          std::uint64_t most, std::uint64_t& into) {
  const auto parsed = parse_size(value);
  if (!parsed || *parsed < least || *parsed > most)
    return base::fail(ErrorKind::usage, fmt::format("{}={} makes no sense: give a number from {} to {}", name,
                                                    base::escape(value), least, most));
  into = *parsed;
  return {};
}

base::Result<void> read_operands(DdRequest& r) {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  for (const auto& operand : r.operands) {
    const auto mark = operand.find('=');
    const auto name = mark == std::string::npos ? std::string() : operand.substr(0, mark);
    const auto value = operand.substr(mark + 1);
    base::Result<void> read;
    if (name == "if") {
      r.input = value;
    } else if (name == "of") {
      r.output = value;
    } else if (name == "bs") {
      read = number(name, value, 1, std::numeric_limits<std::int32_t>::max(), r.block);
    } else if (name == "count") {
      read = number(name, value, 0, most, r.count.emplace());
    } else if (name == "skip") {
      read = number(name, value, 0, most, r.skip);
    } else {
      read = base::fail(ErrorKind::usage,
                        fmt::format("there is no operand '{}': use if=, of=, bs=, count= and skip=",
                                    base::escape(operand)));
    }
    if (!read) return read;
  }
  if (r.input.empty() || r.output.empty())
    return base::fail(ErrorKind::usage,
                      "both are needed: the image to read (if=FILE) and the file to make (of=FILE)");
  return {};
}

base::Result<void> dd_as(DdRequest& r, Console& console) {
  const auto about_dd = [](base::Error error) {
    error.message = "dd: " + error.message;
    return std::unexpected(std::move(error));
  };
  if (auto read = read_operands(r); !read) return about_dd(std::move(read.error()));
  if (r.disks.image_options && !r.format.empty())
    return about_dd({ErrorKind::usage, "--image-opts says the format: leave -f out", 0});
  Conversion c(r.target_format == "qcow2");
  auto image =
      open_disk(r.input, r.disks, {.format = image_format(r.format), .cache_bytes = source_cache_bytes});
  if (!image) {
    image.error().message = about(r.input, image.error());
    return std::unexpected(std::move(image.error()));
  }
  auto secrets = r.disks.secrets();
  if (!secrets) return about_dd(std::move(secrets.error()));
  c.secrets = std::move(*secrets);

  // As with qemu-img, blocks are counted from the image's beginning: those that are skipped count.
  const std::uint64_t size = (*image)->disk().size();
  const std::uint64_t end = r.count ? std::min(size, base::saturating_mul(*r.count, r.block)) : size;
  const std::uint64_t begin = base::saturating_mul(r.skip, r.block);
  if (begin > end)
    console.complain(fmt::format("{}: the first {} bytes are skipped: nothing is left to be copied",
                                 base::escape(r.input), begin));
  c.content.append(**image, begin, end > begin ? end - begin : 0);
  c.sources.push_back(std::move(*image));
  c.target.file = r.output;
  c.guard = r.guard;
  c.target.format = r.target_format;
  return convert_images(c, console);
}

}  // namespace

Exit dd(std::span<char* const> words, Console& console) {
  DdRequest r;
  Arguments arguments(
      "dd", "Copies a part of an image into a new one, as qemu-img dd does.",
      "  cowvet dd if=disk.qcow2 of=mbr.raw count=1\n"
      "  cowvet dd -O qcow2 bs=1M skip=1 if=disk.raw of=partition.qcow2\n"
      "  cowvet dd bs=1M skip=1 count=3 if=disk.raw of=two.raw   # count counts what is skipped, too");
  r.disks.add_to(arguments);
  r.guard.add_to(arguments);
  r.disks.add_force_share(arguments);
  arguments.word("-f", r.format, {"qcow2", "raw"}, "The image's format; found out when not given");
  arguments.word("-O", r.target_format, {"qcow2", "raw"}, "The new image's format; raw when not given");
  arguments.operands(
      r.operands, "OPERAND",
      "if=IMAGE to read; of=FILE to make; bs=SIZE of a block, 512 when not given; count=N blocks of the "
      "image to look at; skip=N blocks of them",
      false);
  if (const auto end = arguments.parse(words, console)) return *end;
  if (const auto done = dd_as(r, console); !done) {
    console.complain(done.error().message);
    return Exit::failed;
  }
  return Exit::success;
}

}  // namespace cowvet::cli
