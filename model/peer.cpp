#include "model/peer.hpp"

#include <fmt/format.h>

#include "engine/chain.hpp"
#include "model/compare.hpp"
#include "model/found.hpp"
#include "model/script.hpp"
#include "storage/file.hpp"

namespace cowvet::model {

namespace {

namespace fs = std::filesystem;
using Found = std::optional<Disagreement>;

base::Result<std::vector<std::byte>> bytes_of(const fs::path& file) {
  const auto device = storage::open_file(file);
  if (!device) return std::unexpected(device.error());
  std::vector<std::byte> bytes((*device)->size());
  if (const auto read = (*device)->read(0, bytes); read.os_error != 0)
    return base::fail(base::ErrorKind::io, file.string() + " can't be read", read.os_error);
  return bytes;
}

base::Result<void> write_file(const fs::path& file, base::ConstBytes bytes) {
  const auto device = storage::create_file(file, {.lock = false, .durable = false});
  if (!device) return std::unexpected(device.error());
  return (*device)->write(0, bytes);
}

Found disagreement(Oracle oracle, std::string what) { return Disagreement{oracle, std::move(what)}; }

}  // namespace

base::Result<void> Peer::empty_folder() {
  std::error_code error;
  for (const auto& file : fs::directory_iterator(folder_, error)) fs::remove(file, error);
  if (error) return base::fail(base::ErrorKind::io, folder_.string() + ": " + error.message());
  return {};
}

base::Result<Peer::Said> Peer::reads_otherwise(const Model& model, std::size_t image) {
  const Layer& layer = model.layers()[image];
  const auto compared = [&](const std::string& options, const State& state) -> base::Result<Said> {
    auto failed = run_(
        fmt::format("{} convert {} {} -O raw raw", programs_.image, options, opening_words(model, image)));
    if (!failed || *failed) return failed;
    const auto bytes = bytes_of(folder_ / "raw");
    if (!bytes) return std::unexpected(bytes.error());
    if (!same(*bytes, state.content))
      return Said(fmt::format("convert {} reads something else", options.empty() ? "of the disk" : options));
    return Said{};
  };
  auto found = compared("", layer.disk);
  // Another size than the disk's is beyond qemu-img.
  for (const auto& snapshot : layer.snapshots)
    if (found && !*found && snapshot.state.content.size() == layer.size())
      found = compared("-l snapshot.name=" + snapshot.name, snapshot.state);
  return found;
}

base::Result<Found> Peer::judge(const Model& model, std::size_t image, KnownCounts& met) {
  const Layer& layer = model.layers()[image];
  if (layer.raw) {
    const auto bytes = bytes_of(folder_ / layer.name);
    if (!bytes) return disagreement(Oracle::refused, bytes.error().message);
    return same(*bytes, layer.disk.content) ? Found{} : disagreement(Oracle::content, "holds something else");
  }
  const engine::OpenFile open = [&](const std::string& file, bool writable) {
    return storage::open_file(folder_ / file, {.writable = writable});
  };
  const auto opened =
      engine::open_image(layer.name, {.format = engine::ImageFormat::qcow2, .secret = password}, open);
  if (!opened) return disagreement(Oracle::refused, opened.error().message);
  if (auto found = compare(*(*opened)->qcow2(), layer, false)) return found;
  if (!layer.data_file.empty()) {
    auto bytes = bytes_of(folder_ / layer.data_file);
    if (!bytes) return disagreement(Oracle::data_file, bytes.error().message);
    if (bytes->size() > layer.size() && bytes->size() - layer.size() < layer.setting.cluster_size &&
        base::all_zero(base::ConstBytes(*bytes).subspan(layer.size()))) {
      ++met[static_cast<std::size_t>(Known::raw_data_file_longer)];
      bytes->resize(layer.size());
    }
    if (auto found = compare_data_file(*bytes, layer)) return found;
  }
  if (auto text = findings((*opened)->device(), Leaks::none, layer.data_file.empty()); !text.empty())
    return disagreement(Oracle::check, std::move(text));
  auto otherwise = reads_otherwise(model, image);
  if (!otherwise) return std::unexpected(otherwise.error());
  if (*otherwise) return disagreement(Oracle::peer, std::move(**otherwise));
  return Found{};
}

base::Result<Found> Peer::judge(const Model& model, KnownCounts& met) {
  for (std::size_t i = 0; i < model.layers().size(); ++i) {
    if (!model.layers()[i].valid) continue;
    auto found = judge(model, i, met);
    if (found && *found) (*found)->what = model.layers()[i].name + ": " + (*found)->what;
    if (!found || *found) return found;
  }
  return Found{};
}

Outcome Peer::does(const Sequence& sequence, Scope scope) {
  Model model(sequence.raw_base, sequence.first, scope);
  Outcome outcome;
  if (const auto met = comparable(fitted(sequence.first, sequence.raw_base != 0)).met)
    ++outcome.met[static_cast<std::size_t>(*met)];
  for (const auto& wanted : sequence.operations)
    if (const auto operation = model.fitted(wanted, &outcome.met)) {
      model.apply(*operation);
      ++outcome.operations;
      ++outcome.kinds[operation->index()];
    }
  const auto text = script(sequence, scope, Ending::open);
  auto done = empty_folder();
  if (done) done = write_file(folder_ / "script", std::as_bytes(std::span(text)));
  if (!done) {
    outcome.error = done.error();
  } else if (auto ran = run_(fmt::format("img='{}' io='{}' sh -x script", programs_.image, programs_.io));
             !ran) {
    outcome.error = ran.error();
  } else if (*ran) {
    outcome.disagreement = Disagreement{Oracle::refused, std::move(**ran)};
  } else if (auto judged = judge(model, outcome.met); !judged) {
    outcome.error = judged.error();
  } else {
    outcome.disagreement = std::move(*judged);
  }
  return outcome;
}

std::string Peer::against(const EngineChain::Files& files, const Model& model, bool leaks) {
  if (auto done = empty_folder(); !done) return done.error().message;
  for (const auto& [name, file] : files)
    if (auto done = write_file(folder_ / name, file.bytes()); !done) return done.error().message;
  constexpr const char* or_leaks = " || test $? -eq 3";
  auto failed =
      run_(programs_.image + " check -q " + opening_words(model, model.used()) + (leaks ? or_leaks : ""));
  for (std::size_t i = 0; i < model.layers().size(); ++i)
    if (failed && !*failed && model.layers()[i].valid && !model.layers()[i].raw)
      failed = reads_otherwise(model, i);
  if (!failed) return failed.error().message;
  return failed->value_or("");
}

}  // namespace cowvet::model
