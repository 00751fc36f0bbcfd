#include "model/script.hpp"

#include <algorithm>
#include <set>
#include <span>

#include <fmt/format.h>

#include "model/engine_chain.hpp"
#include "model/overloaded.hpp"

namespace cowvet::model {

namespace {

// Fills that are not one byte all over come from files, which filled() in model/operation.cpp says the bytes of.
constexpr const char* prologue = R"(#!/bin/sh
set -e
: "${img:=cowvet}" "${io:=cowvet io}"
fill() {  # KIND SEED LENGTH FILE
  perl -e 'my ($kind, $seed, $length) = @ARGV;
    my ($state, $shift, $found) = ($seed + 1, $kind eq "text" ? 28 : 24, "");
    for (1 .. PERIOD) {
      $state = ($state * 1664525 + 1013904223) % 4294967296;
      $found .= chr($state >> $shift);
    }
    print substr($found x ($length / PERIOD + 1), 0, $length);' "$1" "$2" "$3" >"$4"
}
)";

// As cksum prints it.
std::uint32_t posix_checksum(base::ConstBytes bytes) {
  constexpr std::uint32_t polynomial = 0x04c11db7;
  std::uint32_t crc = 0;
  const auto add = [&](unsigned byte) {
    crc ^= byte << 24;
    for (int bit = 0; bit < 8; ++bit) crc = crc << 1 ^ ((crc >> 31) != 0 ? polynomial : 0);
  };
  for (const auto byte : bytes) add(std::to_integer<unsigned>(byte));
  for (std::size_t length = bytes.size(); length != 0; length >>= 8)
    add(static_cast<unsigned>(length & 0xff));
  return ~crc;
}

void replace(std::string& text, const std::string& what, const std::string& by) {
  text.replace(text.find(what), what.size(), by);
}

std::string key_words() { return fmt::format("--object secret,id=key,data={} ", password); }

bool is_encrypted(const Layer& layer) { return layer.setting.encryption != format::CryptMethod::none; }

class Writer {
 public:
  Writer(const Sequence& sequence, Scope scope, Ending ending)
      : scope_(scope), model_(sequence.raw_base, sequence.first, scope) {
    replace(text_, "PERIOD", std::to_string(fill_period));
    replace(text_, "PERIOD", std::to_string(fill_period));
    if (const Layer& lowest = model_.layers().front(); lowest.raw)
      line(fmt::format("fill noise {} {} {}", raw_base_fill.seed, lowest.size(), lowest.name));
    create();
    for (const auto& wanted : sequence.operations) {
      const auto operation = model_.fitted(wanted);
      if (!operation) continue;
      add(*operation);
      model_.apply(*operation);
    }
    end_io();
    if (certain_ && ending == Ending::judged) judge();
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  void line(const std::string& words) { text_ += words + "\n"; }

  std::string file_of(const Fill& fill) {
    const std::string kind = fill.kind == Fill::Kind::text ? "text" : "noise";
    const std::string name = fmt::format("{}-{}", kind, fill.seed);
    if (made_.insert(name).second) line(fmt::format("fill {} {} {} {}", kind, fill.seed, fill_period, name));
    return name;
  }

  // The image in use, as it is new.
  void create() {
    const Layer& layer = model_.top();
    const auto& s = layer.setting;
    std::string options = option_list(s);
    if (s.data_file != DataFile::none) options += ",data_file=" + layer.data_file;
    std::string words = "$img create -q -f qcow2 ";
    if (s.encryption != format::CryptMethod::none) {
      words += key_words();
      options += ",encrypt.key-secret=key";
    }
    if (layer.below) words += "-u " + backing_words(layer.below) + " ";
    line(fmt::format("{}-o {} {} {}", words, options, layer.name, s.size));
  }

  void io(const std::string& command) { io_.push_back(command); }
  void end_io() {
    if (io_.empty()) return;
    std::string words = "$io " + force() + opening_words(model_, model_.used());
    for (const auto& command : io_) words += fmt::format(" \\\n  -c '{}'", command);
    // An abort ends the program with a signal: that is what is wanted.
    if (io_.back() == "abort") words += " || true";
    line(words);
    io_.clear();
  }
  void write(const char* options, const Range& range, const Fill& fill) {
    const std::string from = fill.kind == Fill::Kind::byte ? fmt::format("-P {:#04x}", fill.seed)
                                                           : fmt::format("-s {}", file_of(fill));
    io(fmt::format("write -q {}{} {} {}", options, from, range.at, range.length));
  }

  // "-b FILE -F FORMAT"
  [[nodiscard]] std::string backing_words(std::optional<std::size_t> below) const {
    if (!below) return "-b ''";
    const Layer& layer = model_.layers()[*below];
    return fmt::format("-b {} -F {}", layer.name, layer.raw ? "raw" : "qcow2");
  }
  // Under its own name cowvet asks before it changes what others stand on, which for the model is part of the
  // operation.
  [[nodiscard]] std::string force() const { return scope_ == Scope::verbs ? "--force " : ""; }
  // Of a command on the tree: the key of encrypted images opens all of them.
  [[nodiscard]] std::string keys() const {
    return std::ranges::any_of(model_.layers(), is_encrypted) ? key_words() : "";
  }
  void rebase(std::size_t image, std::optional<std::size_t> below, const char* option = "") {
    const bool asks = scope_ != Scope::peer && !model_.layers()[image].snapshots.empty();
    line(fmt::format("$img rebase {}{}-q {}-f qcow2 {} {}", keys(), asks ? "--force " : force(), option,
                     backing_words(below), model_.layers()[image].name));
  }
  void commit(std::size_t top, std::size_t base);
  void pull(std::size_t image, std::optional<std::size_t> base);
  void remove_layer(const RemoveLayer& o);

  void add(const Operation& operation);
  // What the outcome must be: the script fails otherwise.
  void judge();

  Scope scope_;
  Model model_;
  std::string text_ = prologue;
  std::set<std::string> made_;   // files of fills
  std::vector<std::string> io_;  // commands for the image as it is opened
  bool certain_ = true;          // every operation was possible, whoever does it
  bool leaks_ = false;           // there may be some, since not all was closed
};

void Writer::judge() {
  for (std::size_t i = 0; i < model_.layers().size(); ++i) {
    const Layer& layer = model_.layers()[i];
    if (!layer.valid) continue;
    const auto image = layer.raw ? "-f raw " + layer.name : opening_words(model_, i);
    if (!layer.raw) line(fmt::format("$img check -q {}{}", image, leaks_ ? " || test $? -eq 3" : ""));
    line(fmt::format("$img convert {} -O raw raw", image));
    line(fmt::format("test \"$(cksum <raw)\" = '{} {}' || {{ echo '{} reads as something else'; exit 1; }}",
                     posix_checksum(layer.disk.content), layer.size(), layer.name));
  }
}

// In the words of qemu-img, or in cowvet's own, which tell the whole chain and so need not rename by hand.
void Writer::commit(std::size_t top, std::size_t base) {
  const auto chain = model_.chain_of(model_.used());
  const auto& layers = model_.layers();
  const auto& from = layers[chain[top]].name;
  const auto& into = layers[chain[base]].name;
  if (scope_ != Scope::peer) {
    line(fmt::format("$img commit {}--force -q -f qcow2 --base {} --top {} {}", keys(), into, from,
                     layers[chain[0]].name));
  } else if (top == 0 && base == 1) {
    line(fmt::format("$img commit -q -f qcow2 {}", from));
  } else {
    line(fmt::format("$img commit -q -f qcow2 -d -b {} {}", into, from));
    if (top != 0) rebase(chain[top - 1], chain[base], "-u ");
  }
}

void Writer::pull(std::size_t image, std::optional<std::size_t> base) {
  const auto& layers = model_.layers();
  if (scope_ == Scope::peer) return rebase(image, base);
  const auto onto = base ? fmt::format("--base {} ", layers[*base].name) : "";
  line(fmt::format("$img pull {}--force -q -f qcow2 {}{}", keys(), onto, layers[image].name));
}

void Writer::remove_layer(const RemoveLayer& o) {
  const std::size_t image = model_.chain_of(model_.used())[o.which];
  const Layer& layer = model_.layers()[image];
  if (o.upwards)
    for (const auto overlay : model_.overlays_of(image)) pull(overlay, layer.below);
  else
    commit(o.which, o.which + 1);
  line(fmt::format("rm {} {}", layer.name, layer.data_file));
}

void Writer::add(const Operation& operation) {
  const Layer& layer = model_.top();
  const auto image = [&](const std::string& verb, const std::string& options, const std::string& after = "") {
    end_io();
    auto words = opening_words(model_, model_.used(), verb == "bitmap");
    // The verb snapshot finds out the format, and takes no word about it.
    if (const std::string known = "-f qcow2 "; verb == "snapshot" && words.starts_with(known))
      words.erase(0, known.size());
    line(fmt::format("$img {} {}{}{}{}", verb, verb == "bitmap" ? std::string() : force(), options, words,
                     after));
  };
  // With narrow refcounts the image may be unable to count so many owners, and stays as it is.
  const bool narrow = layer.setting.refcount_bits < 16;
  const std::string perhaps = narrow ? " || true" : "";
  std::visit(
      Overloaded{
          [&](const Write& o) { write("", o.range, o.fill); },
          [&](const WriteCompressed& o) { write("-c ", o.range, o.fill); },
          [&](const Zero& o) {
            io(fmt::format("write -q -z {}{} {}", o.unmap ? "-u " : "", o.range.at, o.range.length));
          },
          [&](const Discard& o) { io(fmt::format("discard -q {} {}", o.range.at, o.range.length)); },
          [&](const Flush&) { io("flush"); },
          [&](const Reopen& o) {
            if (!o.properly) {
              leaks_ = true;
              io("flush");
              io("abort");
            }
            end_io();
          },
          [&](const CreateSnapshot&) {
            certain_ = certain_ && !narrow;
            image("snapshot", fmt::format("-c {} ", layer.next_snapshot()), perhaps);
          },
          [&](const ApplySnapshot& o) {
            certain_ = certain_ && !narrow;
            image("snapshot", fmt::format("-a {} ", layer.snapshots[o.which].name), perhaps);
          },
          [&](const RemoveSnapshot& o) {
            image("snapshot", fmt::format("-d {} ", layer.snapshots[o.which].name));
          },
          [&](const Resize& o) {
            image("resize", fmt::format("-q --shrink --preallocation={} ", name_of(o.preallocation)),
                  fmt::format(" {}", o.size));
          },
          [&](const AddBitmap& o) {
            image("bitmap", fmt::format("--add {}-g {} ", o.enabled ? "" : "--disable ", o.granularity),
                  " " + layer.next_bitmap());
          },
          [&](const RemoveBitmap& o) { image("bitmap", "--remove ", " " + layer.bitmaps[o.which].name); },
          [&](const ClearBitmap& o) { image("bitmap", "--clear ", " " + layer.bitmaps[o.which].name); },
          [&](const EnableBitmap& o) {
            image("bitmap", o.enabled ? "--enable " : "--disable ", " " + layer.bitmaps[o.which].name);
          },
          [&](const AddOverlay& o) {
            end_io();
            Model next = model_;
            next.apply(o);
            std::swap(model_, next);
            create();
            std::swap(model_, next);
          },
          [&](const Use&) { end_io(); },
          [&](const Commit& o) {
            end_io();
            commit(o.top, o.base);
          },
          [&](const Rebase& o) {
            end_io();
            const char* const option = o.safe ? "" : "-u ";
            if (o.onto == 0)
              rebase(model_.used(), std::nullopt, option);
            else
              rebase(model_.used(), o.onto - 1, option);
            // Where nobody can tell what it holds, nobody can tell what it shows now.
            if (!o.safe && std::ranges::find(layer.disk.held, Held::unknown) != layer.disk.held.end())
              certain_ = false;
          },
          [&](const Pull& o) {
            end_io();
            const auto chain = model_.chain_of(model_.used());
            pull(chain[o.image], o.base == 0 ? std::nullopt : std::optional(chain[o.base]));
          },
          [&](const RemoveLayer& o) {
            end_io();
            remove_layer(o);
          },
      },
      operation);
}

}  // namespace

// Encrypted layers need a key each.
std::string opening_words(const Model& model, std::size_t image, bool alone) {
  auto chain = model.chain_of(image);
  if (alone) chain.resize(1);
  const auto& layers = model.layers();
  while (!chain.empty() && !is_encrypted(layers[chain.back()])) chain.pop_back();  // they need no words
  if (chain.empty()) return "-f qcow2 " + layers[image].name;
  std::string options;
  std::string prefix;
  for (const auto number : chain) {
    const Layer& layer = layers[number];
    options += fmt::format("{0}driver=qcow2,{0}file.driver=file,{0}file.filename={1},", prefix, layer.name);
    if (is_encrypted(layer))
      options += fmt::format("{0}encrypt.format={1},{0}encrypt.key-secret=key,", prefix,
                             layer.setting.encryption == format::CryptMethod::aes ? "aes" : "luks");
    prefix += "backing.";
  }
  options.pop_back();
  return fmt::format("{}--image-opts {}", key_words(), options);
}

std::string script(const Sequence& sequence, Scope scope, Ending ending) {
  return Writer(sequence, scope, ending).text();
}

}  // namespace cowvet::model
