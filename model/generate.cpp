#include "model/generate.hpp"

#include <fmt/format.h>
#include <rapidcheck.h>

#include "model/script.hpp"

namespace cowvet::model {

namespace {

namespace gen = rc::gen;
using engine::Preallocation;

template <class T>
rc::Gen<T> uniform(T least, T most) {
  return gen::resize(rc::kNominalSize, gen::inRange<T>(least, most + 1));
}

rc::Gen<Setting> settings(const Wishes& wishes) {
  const auto clusters =
      gen::suchThat(gen::weightedElement<std::uint64_t>(
                        {{4, 4096}, {4, 512}, {2, 65536}, {2, 16384}, {1, 1024}, {1, 32768}, {1, 2 << 20}}),
                    [most = wishes.largest_cluster](std::uint64_t size) { return size <= most; });
  using format::CryptMethod;
  const std::size_t luks = wishes.luks ? 1 : 0;
  return gen::map(
      gen::tuple(
          uniform<std::uint64_t>(1, 10'000), gen::weightedElement<std::uint32_t>({{5, 3}, {1, 2}}), clusters,
          gen::weightedElement<std::uint32_t>({{4, 16}, {1, 1}, {1, 2}, {1, 4}, {1, 8}, {1, 32}, {1, 64}}),
          gen::weightedElement<bool>({{3, false}, {1, true}}),
          gen::weightedElement<bool>({{2, false}, {1, true}}),
          gen::weightedElement<format::Compression>(
              {{2, format::Compression::deflate}, {1, format::Compression::zstd}}),
          gen::weightedElement<Preallocation>({{5, Preallocation::off},
                                               {1, Preallocation::metadata},
                                               {1, Preallocation::falloc},
                                               {1, Preallocation::full}}),
          gen::weightedElement<DataFile>({{6, DataFile::none}, {1, DataFile::plain}, {1, DataFile::raw}}),
          gen::weightedElement<CryptMethod>(
              {{14, CryptMethod::none}, {1, CryptMethod::aes}, {luks, CryptMethod::luks}})),
      [](const auto& chosen) {
        const auto& [share, version, cluster_size, refcount_bits, lazy, extended, compression, preallocation,
                     data_file, encryption] = chosen;
        Setting s{.version = version,
                  .cluster_size = cluster_size,
                  .refcount_bits = refcount_bits,
                  .lazy_refcounts = lazy,
                  .extended_l2 = extended,
                  .compression = compression,
                  .preallocation = preallocation,
                  .data_file = data_file,
                  .encryption = encryption};
        s.size = largest_disk(s) * share / 10'000;
        return s;
      });
}

// Mostly of a few clusters, with a taste for their edges, and for the edges of other layers' clusters.
rc::Gen<Range> ranges(const Setting& setting) {
  const auto units = gen::elementOf(
      std::vector<std::uint64_t>{1, 512, setting.piece(), setting.cluster_size, setting.cluster_size});
  const auto number = uniform<std::uint64_t>(0, largest_disk(setting) - 1);
  const auto most =
      gen::elementOf(std::vector<std::uint64_t>{700, setting.cluster_size, 6 * setting.cluster_size});
  return gen::map(gen::tuple(number, units, number, units, most), [](const auto& chosen) {
    const auto& [at, start_unit, length, unit, limit] = chosen;
    return Range{at / start_unit * start_unit, std::max(unit, length % limit / unit * unit)};
  });
}

rc::Gen<Fill> fills() {
  return gen::construct<Fill>(gen::weightedElement<Fill::Kind>(
                                  {{2, Fill::Kind::byte}, {1, Fill::Kind::text}, {2, Fill::Kind::noise}}),
                              uniform<std::uint8_t>(0, 254));
}

template <class T, class... Parts>
rc::Gen<Operation> one(rc::Gen<Parts>... parts) {
  return gen::map(gen::tuple(std::move(parts)...),
                  [](const auto& made) { return Operation{std::make_from_tuple<T>(made)}; });
}

rc::Gen<Operation> operations(const Setting& setting, const Wishes& wishes) {
  const auto range = ranges(setting);
  const auto flag = gen::arbitrary<bool>();
  const auto which = uniform<std::uint32_t>(0, 5);
  const auto preallocation =
      gen::elementOf(std::vector{Preallocation::off, Preallocation::off, Preallocation::metadata,
                                 Preallocation::falloc, Preallocation::full});
  // How often what is done to snapshots, and to chains, is chosen.
  const bool all = wishes.profile == Profile::all;
  const std::size_t snapshots = all ? 1 : wishes.profile == Profile::snapshots ? 3 : 0;
  const std::size_t chains = all ? 1 : wishes.profile == Profile::chains ? 6 : 0;
  return gen::weightedOneOf<Operation>({
      {24, one<Write>(range, fills())},
      {10, one<WriteCompressed>(range, fills())},
      {12, one<Zero>(range, flag)},
      {12, one<Discard>(range)},
      {6, one<Flush>()},
      {4, one<Reopen>(gen::weightedElement<bool>({{2, true}, {1, false}}))},
      {6 * snapshots, one<CreateSnapshot>()},
      {4 * snapshots, one<ApplySnapshot>(which)},
      {3 * snapshots, one<RemoveSnapshot>(which)},
      {10, one<Resize>(uniform<std::uint64_t>(0, largest_disk(setting)), preallocation)},
      {5 * snapshots,
       one<AddBitmap>(
           gen::map(uniform<unsigned>(9, 16), [](unsigned bits) { return std::uint64_t{1} << bits; }), flag)},
      {snapshots, one<RemoveBitmap>(which)},
      {snapshots, one<ClearBitmap>(which)},
      {snapshots, one<EnableBitmap>(which, flag)},
      {2 * chains, one<AddOverlay>(settings(wishes), gen::weightedOneOf<std::uint32_t>(
                                                         {{2, gen::just<std::uint32_t>(0)}, {1, which}}))},
      {chains, one<Use>(which)},
      {2 * chains, one<Commit>(which, which)},
      {chains, one<Rebase>(which, gen::weightedElement<bool>({{3, true}, {1, false}}))},
      {2 * chains, one<Pull>(which, which)},
      {chains, one<RemoveLayer>(which, flag)},
  });
}

std::string described(const Setting& s, bool over_backing) {
  std::string text = option_list(s);
  if (s.data_file == DataFile::plain) text += ",data_file";
  return text + (over_backing ? " over a backing file" : "");
}

void note_options(const Sequence& sequence, std::set<std::string>& options) {
  options.insert(described(fitted(sequence.first, sequence.raw_base != 0), sequence.raw_base != 0));
  for (const auto& operation : sequence.operations)
    if (const auto* overlay = std::get_if<AddOverlay>(&operation))
      options.insert(described(fitted(overlay->setting, true), true));
}

rc::Gen<Sequence> sequences(const Wishes& wishes) {
  const auto base = gen::weightedOneOf<std::uint64_t>(
      {{2, gen::just<std::uint64_t>(0)}, {1, uniform<std::uint64_t>(1, 200'000)}});
  return gen::mapcat(gen::tuple(base, settings(wishes)), [wishes](const auto& start) {
    const auto raw_base = std::get<0>(start);
    const auto first = std::get<1>(start);
    const auto list = gen::resize(wishes.most_operations,
                                  gen::container<std::vector<Operation>>(operations(first, wishes)));
    return gen::map(list, [raw_base, first](const std::vector<Operation>& chosen) {
      return Sequence{raw_base, first, chosen};
    });
  });
}

bool enough(const Search& search, const Searched& found) {
  return found.error || (search.enough && search.enough(found));
}

// Goes to the first simpler sequence that fails too, until none does.
void shrink(rc::Shrinkable<Sequence> failing, const Try& attempt, const Search& search, Searched& found) {
  int attempts = 0;
  for (bool simpler = true; simpler;) {
    simpler = false;
    auto candidates = failing.shrinks();
    while (auto candidate = candidates.next()) {
      if (++attempts > search.most_shrinks || enough(search, found)) break;
      auto outcome = attempt(candidate->value());
      if (outcome.error || !outcome.disagreement) continue;
      failing = *candidate;
      found.disagreement = std::move(outcome.disagreement);
      simpler = true;
      break;
    }
  }
  found.failing = failing.value();
  found.script = script(*found.failing, search.scope);
}

}  // namespace

Searched search(const Search& search, const Try& attempt) {
  Searched found;
  const auto generator = sequences(search.wishes);
  rc::Random random(search.seed);
  while (found.operations < search.operations && !found.disagreement && !enough(search, found)) {
    const auto generated = generator(random.split(), rc::kNominalSize);
    const auto sequence = generated.value();
    auto outcome = attempt(sequence);
    if (outcome.error) {
      found.error = std::move(outcome.error);
      break;
    }
    note_options(sequence, found.options);
    ++found.sequences;
    found.operations += outcome.operations;
    for (std::size_t i = 0; i < found.met.size(); ++i) found.met[i] += outcome.met[i];
    for (std::size_t i = 0; i < found.kinds.size(); ++i) found.kinds[i] += outcome.kinds[i];
    if (!outcome.disagreement) continue;
    found.disagreement = std::move(outcome.disagreement);
    shrink(generated, attempt, search, found);
  }
  return found;
}

}  // namespace cowvet::model
