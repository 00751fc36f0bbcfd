#include "cli/shared.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/image_options.hpp"
#include "cli/program.hpp"
#include "storage/locks.hpp"

namespace cowvet::cli {

void Shared::add_to(Arguments& arguments) {
  arguments.word("-f", format, {"qcow2", "raw"}, "The image's format; found out when not given");
  arguments.flag("--image-opts", image_options,
                 "IMAGE is a list of options: driver=qcow2,file.filename=disk.qcow2");
  arguments.texts("--object", objects, "OBJECT", "Taken as qemu-img takes it; secrets are not needed here");
  add_io(arguments);
}

base::Result<void> Shared::settle(std::string& image) {
  if (!image_options) return {};
  auto options = parse_image_options(image);
  if (!options) return std::unexpected(std::move(options.error()));
  image = std::move(options->file);
  if (!options->format.empty()) format = std::move(options->format);
  return {};
}

void Shared::add_io(Arguments& arguments) {
  arguments.flag("-U,--force-share", force_share,
                 "Don't warn when another program has the image open for writing");
  arguments.word("--io", io, {"auto", "posix", "uring"},
                 "How the file is read; posix: plain system calls only");
}

void add_output(Arguments& arguments, std::string& output, std::initializer_list<std::string_view> forms) {
  arguments.word("--output", output, forms, "The form of the result");
}

analyzer::Format chosen_format(const Shared& shared) {
  using analyzer::Format;
  return shared.format == "qcow2" ? Format::qcow2 : shared.format == "raw" ? Format::raw : Format::probe;
}

std::string about(std::string_view file, const base::Error& error) {
  if (stands_in() && (error.opening || error.kind == base::ErrorKind::wrong_format))
    return about_opening(file, error);
  return fmt::format("{}: {}", base::escape(file), error.message);
}

std::unexpected<base::Error> about_file(std::string_view file, base::Error error) {
  error.message = about(file, error);
  return std::unexpected(std::move(error));
}

base::Result<std::unique_ptr<storage::Device>> open_quietly(const std::string& file, const Shared& shared) {
  using storage::Io;
  const Io io = shared.io == "posix" ? Io::posix : shared.io == "uring" ? Io::uring : Io::automatic;
  // Whose place we take would not look at it; cowvet does, and says so (warned_in_use).
  if (stands_in() && !shared.force_share)
    if (const auto locks = storage::image_in_use(file); locks && locks->in_use_for_writing())
      return std::unexpected(
          file_error(file, false, base::Error{.kind = base::ErrorKind::in_use, .message = {}}));
  auto device = storage::open_file(file, {.io = io});
  if (!device) return std::unexpected(file_error(file, false, std::move(device.error())));
  return device;
}

base::Result<std::unique_ptr<storage::Device>> open_image(const std::string& file, const Shared& shared,
                                                          Console& console) {
  auto device = open_quietly(file, shared);
  if (device) warned_in_use(file, shared, console);
  return device;
}

bool warned_in_use(const std::string& file, const Shared& shared, Console& console) {
  if (shared.force_share) return false;
  const auto locks = storage::image_in_use(file);
  if (!locks || !locks->in_use_for_writing()) return false;
  console.complain(
      fmt::format("{}: in use by another program that may write to it: what is told may be half of a "
                  "change; stop the virtual machine for an answer that counts (-U hides this)",
                  base::escape(file)));
  return true;
}

}  // namespace cowvet::cli
