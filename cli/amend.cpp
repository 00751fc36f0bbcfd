// cowvet amend: changes the options of an image that exists, as qemu-img amend does. Promises: what can't be is refused
// before anything is changed; each change takes effect at once or, after a crash, not at all.
#include <algorithm>
#include <array>
#include <bit>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/disks.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/option_reader.hpp"
#include "cli/overlay_guard.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"
#include "engine/key_slots.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

struct AmendRequest {
  std::string image, format;
  std::vector<std::string> lists;
  bool progress = false, quiet = false, force = false;
  DiskWords disk;
  OverlayGuard guard;
};

struct OptionWord {
  std::string_view name, value, help;
};
constexpr auto words_known = std::to_array<OptionWord>({
    {"backing_file", "<str>", "File name of a base image"},
    {"backing_fmt", "<str>", "Image format of the base image"},
    {"compat", "<str>", "Compatibility level (v2 [0.10] or v3 [1.1])"},
    {"data_file", "<str>", "File name of an external data file"},
    {"data_file_raw", "<bool (on/off)>", "The external data file must stay valid as a raw image"},
    {"encrypt.iter-time", "<num>", "Time to spend in PBKDF in milliseconds"},
    {"encrypt.keyslot", "<num>", "Select a single keyslot to modify explicitly"},
    {"encrypt.new-secret", "<str>", "New secret to set in the matching keyslots. Empty string to erase"},
    {"encrypt.old-secret", "<str>", "Select all keyslots that match this password"},
    {"encrypt.state", "<str>", "Select new state of affected keyslots (active/inactive)"},
    {"lazy_refcounts", "<bool (on/off)>", "Postpone refcount updates"},
    {"refcount_bits", "<num>", "Width of a reference count entry in bits"},
    {"size", "<size>", "Virtual disk size"},
});
constexpr auto words_of_creation = std::to_array<std::string_view>(
    {"cluster_size", "compression_type", "encrypt.cipher-alg", "encrypt.cipher-mode", "encrypt.format",
     "encrypt.hash-alg", "encrypt.ivgen-alg", "encrypt.ivgen-hash-alg", "encrypt.key-secret", "encryption",
     "extended_l2", "preallocation"});

std::string option_help() {
  std::string text = "Amend options for 'qcow2':\n";
  for (const auto& word : words_known)
    text += fmt::format("  {:<22} - {}\n", fmt::format("{}={}", word.name, word.value), word.help);
  return text;
}

enum class KeyState : std::uint8_t { active, inactive };

// The options, read.
struct Amendment {
  std::optional<std::uint32_t> version, refcount_bits;
  std::optional<std::string> backing_file, backing_format, data_file, new_secret, old_secret;
  std::optional<bool> data_file_raw, lazy_refcounts;
  std::optional<std::uint64_t> size, slot, iter_time;
  std::optional<KeyState> keys;

  [[nodiscard]] bool about_keys() const { return keys || new_secret || old_secret || slot || iter_time; }
};

base::Result<OptionWords> gather(const std::vector<std::string>& lists) {
  OptionWords words;
  for (const auto& list : lists)
    for (auto& [name, value] : split_options(list)) {
      if (std::ranges::find(words_of_creation, name) != words_of_creation.end())
        return base::fail(
            ErrorKind::usage,
            fmt::format("'{}' can only be chosen when an image is created: convert it into a new one", name));
      if (std::ranges::find(words_known, name, &OptionWord::name) == words_known.end())
        return base::fail(ErrorKind::usage, fmt::format("there is no option '{}': see cowvet amend -o help "
                                                        "-f qcow2",
                                                        base::escape(name)));
      words[name] = value;
    }
  if (words.empty()) return base::fail(ErrorKind::usage, "nothing to do: say what to change with -o");
  return words;
}

base::Result<Amendment> read(const OptionWords& words) {
  Amendment a;
  OptionReader reader(words);
  reader.choice("compat", a.version, {{"0.10", 2U}, {"v2", 2U}, {"1.1", 3U}, {"v3", 3U}});
  reader.number("refcount_bits", a.refcount_bits);
  reader.text("backing_file", a.backing_file);
  reader.text("backing_fmt", a.backing_format);
  reader.text("data_file", a.data_file);
  reader.flag("data_file_raw", a.data_file_raw);
  reader.flag("lazy_refcounts", a.lazy_refcounts);
  reader.size("size", a.size);
  if (a.size == 0U) a.size.reset();  // as qemu-img: the size that it has
  reader.choice("encrypt.state", a.keys, {{"active", KeyState::active}, {"inactive", KeyState::inactive}});
  reader.text("encrypt.new-secret", a.new_secret);
  reader.text("encrypt.old-secret", a.old_secret);
  reader.number("encrypt.keyslot", a.slot);
  reader.number("encrypt.iter-time", a.iter_time);
  if (reader.error()) return std::unexpected(*reader.error());
  return a;
}

using base::refuse;

base::Result<void> check_keys(const Amendment& a, const engine::Qcow2Disk& disk) {
  if (!a.about_keys()) return {};
  const auto method = static_cast<format::CryptMethod>(disk.header().v2.crypt_method);
  if (method == format::CryptMethod::none) return refuse("the image is not encrypted: it has no passwords");
  if (!a.keys) return refuse("say what becomes of the key slots: encrypt.state=active or inactive");
  if (*a.keys == KeyState::active) {
    if (!a.new_secret) return refuse("a new password needs encrypt.new-secret=ID");
    if (a.old_secret) return refuse("encrypt.old-secret is for passwords that are erased: leave it out");
    return {};
  }
  if (a.new_secret) return refuse("encrypt.new-secret is for passwords that are added: leave it out");
  if (a.iter_time) return refuse("encrypt.iter-time is for passwords that are added: leave it out");
  if (!a.slot && !a.old_secret)
    return refuse("say which key slots to erase: encrypt.keyslot=NUMBER or encrypt.old-secret=ID");
  return {};
}

// What the image can't become.
base::Result<void> check(const Amendment& a, const engine::Qcow2Disk& disk) {
  const auto& header = disk.header();
  const std::uint32_t version = a.version.value_or(header.v2.version);
  if ((a.backing_file || a.backing_format) &&
      (a.backing_file != disk.backing_name() || a.backing_format != disk.backing_format()))
    return refuse("the backing file can't be amended: use cowvet rebase");
  if (a.data_file && !header.external_data_file())
    return refuse("data_file is for images that have an external data file: convert the image");
  if (a.data_file_raw.value_or(false) && !header.raw_external_data())
    return refuse("data_file_raw can't be set on an image that exists: convert the image");
  if (a.refcount_bits && (!std::has_single_bit(*a.refcount_bits) || *a.refcount_bits > 64))
    return refuse("refcount_bits must be a power of two up to 64");
  constexpr std::uint32_t version_2_bits = 16;
  if (version == 2 && a.refcount_bits.value_or(disk.geometry().refcount_bits()) != version_2_bits)
    return refuse("compat=0.10 requires refcount_bits=16");
  if (version == 2 && a.lazy_refcounts.value_or(false)) return refuse("lazy_refcounts needs compat=1.1");
  return check_keys(a, disk);
}

base::Result<void> amend_keys(const Amendment& a, const AmendRequest& request, engine::Qcow2Disk& disk) {
  const auto secrets = request.disk.secrets();
  if (!secrets) return std::unexpected(secrets.error());
  const auto find = [&](const std::optional<std::string>& id) -> base::Result<std::optional<std::string>> {
    if (!id) return std::nullopt;
    auto secret = secrets->find(*id);
    if (!secret) return std::unexpected(std::move(secret.error()));
    return std::optional(std::move(*secret));
  };
  if (*a.keys == KeyState::inactive) {
    auto old = find(a.old_secret);
    if (!old) return std::unexpected(std::move(old.error()));
    return disk.erase_keys({.slot = a.slot, .secret = std::move(*old), .force = request.force});
  }
  auto fresh = find(a.new_secret);
  if (!fresh) return std::unexpected(std::move(fresh.error()));
  auto current = password_of(request.image, request.disk);
  if (!current) return std::unexpected(std::move(current.error()));
  if (!*current)
    return refuse(
        "the password that opens the image now is needed too: name the image by --image-opts with "
        "encrypt.key-secret=ID");
  engine::NewKey key{.secret = std::move(**fresh), .unlocked_by = std::move(**current), .slot = a.slot};
  if (a.iter_time) key.iter_time_ms = *a.iter_time;
  key.force = request.force;
  return disk.add_key(key);
}

// In an order in which each step finds what it needs: version 3 comes first and version 2 last.
base::Result<void> apply(const Amendment& a, const AmendRequest& request, engine::Qcow2Disk& disk,
                         base::Progress& progress) {
  base::Result<void> done;
  if (a.version == 3U) done = disk.set_version(3);
  if (done && a.about_keys()) done = amend_keys(a, request, disk);
  if (done && a.refcount_bits)
    done = disk.set_refcount_order(static_cast<std::uint32_t>(std::countr_zero(*a.refcount_bits)), progress);
  if (done && a.data_file_raw && disk.header().external_data_file())
    done = disk.set_raw_external_data(*a.data_file_raw);
  if (done && a.data_file) done = disk.set_data_file(*a.data_file);
  if (done && a.lazy_refcounts && disk.header().has_v3()) done = disk.set_lazy_refcounts(*a.lazy_refcounts);
  if (done && a.size) done = disk.resize(*a.size);
  if (done && a.version == 2U) done = disk.set_version(2);
  return done;
}

base::Result<void> amend_as(AmendRequest& request) {
  if (auto known = check_cache_mode(request.disk.cache); !known) return known;
  if (request.disk.image_options && !request.format.empty())
    return refuse("the format is part of the option list: leave -f out");
  const auto words = gather(request.lists);
  if (!words) return std::unexpected(words.error());
  const auto amendment = read(*words);
  if (!amendment) return std::unexpected(amendment.error());
  request.guard.force = request.force;
  if (amendment->size)
    if (auto free = refuse_with_overlays(request.image, request.disk.image_options, request.guard); !free)
      return free;
  // A new size has to hide what a longer backing file has there.
  const auto image =
      open_disk(request.image, request.disk,
                {.format = image_format(request.format), .writable = true, .no_backing = !amendment->size});
  if (!image) return std::unexpected(image.error());
  auto* const disk = (*image)->qcow2();
  if (disk == nullptr) return refuse("a raw image has no options that can be amended: convert it to qcow2");
  if (auto fine = check(*amendment, *disk); !fine) return fine;
  base::Progress progress;
  const StopOnSignal stop(progress);
  const Meter meter(progress, base::escape(request.image), Meter::style(request.progress, request.quiet));
  auto done = apply(*amendment, request, *disk, progress);
  auto closed = (*image)->close();
  return done ? closed : done;
}

bool asks_for_help(const std::vector<std::string>& lists) {
  return std::ranges::any_of(lists, [](const std::string& list) {
    return std::ranges::any_of(split_options(list),
                               [](const auto& word) { return word.first == "help" || word.first == "?"; });
  });
}

}  // namespace

Exit amend(std::span<char* const> words, Console& console) {
  AmendRequest request;
  Arguments arguments(
      "amend", "Changes the options of an image that exists.",
      "  cowvet amend -o compat=1.1,lazy_refcounts=on disk.qcow2\n"
      "  cowvet amend -o refcount_bits=64 disk.qcow2\n"
      "  cowvet amend -f qcow2 -o help   # all options\n"
      "  cowvet amend --object secret,id=now,file=NOW --object secret,id=new,file=NEW --image-opts \\\n"
      "    -o encrypt.state=active,encrypt.new-secret=new \\\n"
      "    driver=qcow2,file.filename=disk.qcow2,encrypt.key-secret=now   # one more password");
  arguments.texts("-o", request.lists, "KEY=VALUE,...", "What to change; 'help' lists the options");
  arguments.word("-f", request.format, {"qcow2", "raw"}, "The image's format; found out when not given");
  arguments.flag("-p", request.progress, "Show progress where there is no terminal, too");
  arguments.flag("-q,--quiet", request.quiet, "Print nothing but errors");
  arguments.flag("--force", request.force,
                 "Do what may lose data: erase the last password, resize what overlays stand on");
  request.disk.add_cache(arguments);
  request.disk.add_to(arguments);
  request.guard.add_to(arguments, false);
  arguments.operand(request.image, "IMAGE", "Image to change", false);
  if (const auto end = arguments.parse(words, console)) return *end;
  base::Result<void> done;
  if (asks_for_help(request.lists) && request.format != "raw" &&
      !(request.format.empty() && request.image.empty())) {
    console.print(option_help());
    return Exit::success;
  }
  if (request.image.empty())
    done = refuse("IMAGE is missing: see 'cowvet amend --help'");
  else
    done = amend_as(request);
  if (done) return Exit::success;
  console.complain(about(request.image.empty() ? "amend" : request.image, done.error()));
  return Exit::failed;
}

}  // namespace cowvet::cli
